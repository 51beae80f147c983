"""AVI, whose packets only have numbers: frames and times as decoding everything gives them, without decoding it."""

from __future__ import annotations

import struct
import subprocess
from fractions import Fraction

import av
import numpy as np
import pytest

from tasks.decode_mpeg4 import time_bits
from tasks.decoding import ExtractedFrame, extract
from tasks.plans import make_plan
from tasks.probing import probe
from tasks.settings import DecodeSettings
from tests.avi_chunks import set_rate, without_index
from tests.requirements import needs
from tests.test_decoding import frames_of
from tests.video_files import make_video, read_all_frames, read_barcode, truncated, with_hole

MPEG4 = {"codec": "mpeg4", "b_frames": 2}


def assert_equal_to_decoding(path, counted_by="index"):
    """Every frame, and a few of them, are those that decoding everything gives."""
    reference = read_all_frames(path)
    facts, index = probe(path)
    assert (facts.counted_by, facts.frame_count, facts.frames_missing) == (counted_by, len(reference), 0)
    for infer_fps in (None, 1):
        plan, frames = frames_of(path, infer_fps, index=index)
        assert [frame.reason for frame in frames] == [None] * len(plan)
        for frame, offset in zip(frames, plan.frame_offset.tolist(), strict=True):
            assert np.array_equal(frame.pixels, reference[offset])
    return facts, index


def encoded(source, path, *options):
    """`source` encoded into another file by the ffmpeg command."""
    subprocess.run(["ffmpeg", "-v", "error", "-i", source, *options, path], check=True)
    return path


CODECS = {
    "mjpeg": "",
    "huffyuv": "",
    "rawvideo": "",
    "ffv1": "-g 5",
    "msmpeg4v2": "-g 12",
    "msmpeg4": "-g 12",
    "wmv1": "-g 12",
    "wmv2": "-g 12",
    "flv": "-g 12",
    "cinepak": "",
    "mpeg4": "-g 12",
    "libxvid": "-g 12 -bf 2",
}


@needs("ffmpeg")
@pytest.mark.parametrize("codec", CODECS)
def test_codecs_of_the_time_are_not_decoded_to_be_counted(tmp_path, codec):
    source = make_video(tmp_path / "source.mkv", frames=40, width=96, height=64)
    path = encoded(source, tmp_path / "video.avi", "-c:v", codec, *CODECS[codec].split(), "-q:v", "3")
    facts, index = assert_equal_to_decoding(path)
    keys = {"flv": 1, "cinepak": 1, "ffv1": 8, "mjpeg": 40, "huffyuv": 40, "rawvideo": 40}
    if codec != "libxvid":
        assert (len(index.key_pts), facts.rate, facts.constant_rate) == (keys.get(codec, 4), "30", True)


@pytest.mark.parametrize("codec", ["libx264", "mpeg2video"])
def test_what_only_a_decoder_can_order_is_counted(tmp_path, codec):
    assert_equal_to_decoding(make_video(tmp_path / "video.avi", codec=codec, b_frames=2), "decoding")


def packed(source, path, *, signed=True):
    """An MPEG-4 AVI with its B-frames packed behind the frame that they precede, as DivX and Xvid have them."""
    signature = b"\0\0\1\xb2DivX503b1393p" if signed else b""
    with av.open(str(source)) as given, av.open(str(path), "w") as made:
        stream = made.add_stream_from_template(given.streams.video[0])
        stream.codec_context.extradata = given.streams.video[0].codec_context.extradata + signature
        frames = [bytes(packet) for packet in given.demux(video=0) if packet.size]
        kinds = [frame[frame.index(b"\0\0\1\xb6") + 4] >> 6 for frame in frames]
        width = time_bits(memoryview(stream.codec_context.extradata))
        bits = f"0101{'0' * width}10".ljust(24, "1")
        placeholder = b"\0\0\1\xb6" + int(bits, 2).to_bytes(3)
        chunks, number = [], 0
        while number < len(frames):
            run = 1
            while number + run < len(frames) and kinds[number + run] == 2:
                run += 1
            if run == 1:
                chunks.append(frames[number])
            else:
                chunks += [frames[number] + frames[number + 1], *frames[number + 2 : number + run], placeholder]
            number += run
        for dts, data in enumerate(chunks):
            packet = av.Packet(data)
            packet.stream, packet.time_base = stream, Fraction(1, 30)
            packet.pts = packet.dts = dts
            packet.is_keyframe = b"\0\0\1\xb6" in data and data[data.index(b"\0\0\1\xb6") + 4] >> 6 == 0
            made.mux(packet)
    return path


def test_packed_frames_are_taken_apart(tmp_path):
    source = make_video(tmp_path / "source.avi", frames=61, **MPEG4)
    path = packed(source, tmp_path / "video.avi")
    assert any(data.count(b"\0\0\1\xb6") == 2 for data in chunks_of(path))
    facts, index = assert_equal_to_decoding(path)
    assert (facts.rate, len(index.key_pts)) == ("30", len(probe(source)[1].key_pts))
    _, frames = frames_of(path, index=index)
    assert [read_barcode(frame.pixels) for frame in frames] == list(range(61))


def chunks_of(path):
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0)]


def test_packed_frames_that_the_decoder_does_not_know_of_are_counted(tmp_path):
    source = make_video(tmp_path / "source.avi", frames=30, **MPEG4)
    assert_equal_to_decoding(packed(source, tmp_path / "video.avi", signed=False), "decoding")


def with_empty_chunks(source, path, numbers):
    """`source` with those of its chunks emptied, as a recorder does with frames that it dropped."""
    with av.open(str(source)) as given, av.open(str(path), "w") as made:
        stream = made.add_stream_from_template(given.streams.video[0])
        for number, packet in enumerate(given.demux(video=0)):
            if packet.size and number not in numbers:
                packet.stream, packet.pts = stream, packet.dts
                made.mux(packet)
    return path


@pytest.mark.parametrize("b_frames", [0, 2])
def test_dropped_frames_leave_the_others_in_their_places(tmp_path, b_frames):
    source = make_video(tmp_path / "source.avi", codec="mpeg4", b_frames=b_frames, gop=10)
    with av.open(str(source)) as given:
        kinds = [data[data.index(b"\0\0\1\xb6") + 4] >> 6 for data in map(bytes, given.demux(video=0)) if data]
    dropped = {i for i, kind in enumerate(kinds) if kind == 2 and 20 < i < 50} if b_frames else {9, 19, 29, 39}
    path = with_empty_chunks(source, tmp_path / "video.avi", dropped)
    facts, index = assert_equal_to_decoding(path)
    assert not facts.constant_rate
    _, frames = frames_of(path, index=index)
    shown = [read_barcode(frame.pixels) for frame in frames]
    assert index.pts.tolist() == shown


def test_a_file_without_index_is_the_same_file(tmp_path):
    path = make_video(tmp_path / "video.avi", **MPEG4)
    indexed = probe(path)[1]
    without_index(path)
    _, index = assert_equal_to_decoding(path)
    assert index.pts.tolist() == indexed.pts.tolist()
    assert index.key_pts.tolist() == indexed.key_pts.tolist()
    plan = make_plan(index, infer_fps=None, settings=DecodeSettings(segment_s=0.5))
    last = len(plan.segments) - 1
    frames = [item for item in extract(path, plan, [last]) if isinstance(item, ExtractedFrame)]
    assert [read_barcode(frame.pixels) for frame in frames] == list(range(plan.segments[last][0], 60))


def test_an_index_that_lies_about_keyframes_changes_nothing(tmp_path):
    path = make_video(tmp_path / "video.avi", **MPEG4)
    expected = probe(path)[1]
    data = bytearray(path.read_bytes())
    for place in range(data.rindex(b"idx1") + 8, len(data) - 15, 16):
        struct.pack_into("<I", data, place + 4, 0x10)
    path.write_bytes(data)
    _, index = assert_equal_to_decoding(path)
    assert index.key_pts.tolist() == expected.key_pts.tolist()


@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize("at", [0.45, *(pytest.param(at / 100, marks=pytest.mark.long) for at in range(20, 80, 5))])
def test_a_hole_shifts_nothing(tmp_path, b_frames, at):
    size = {"width": 320, "height": 192}
    whole = make_video(tmp_path / "whole.avi", frames=120, gop=20, codec="mpeg4", b_frames=b_frames, **size)
    path = with_hole(whole, tmp_path / "video.avi", at=at, size_bytes=2500)
    facts, index = probe(path)
    assert (facts.frame_count, facts.rate, facts.counted_by) == (120, "30", "index")
    assert facts.frames_missing > 0
    clean = read_all_frames(whole)
    _, frames = frames_of(path, index=index)
    good = [frame for frame in frames if frame.pixels is not None]
    assert len(good) > 60
    assert all(np.array_equal(frame.pixels, clean[frame.sample]) for frame in good)


@pytest.mark.parametrize("keep", [0.53, *(pytest.param(k / 100, marks=pytest.mark.long) for k in range(40, 90, 3))])
def test_a_cut_shifts_nothing(tmp_path, keep):
    whole = make_video(tmp_path / "whole.avi", frames=90, gop=15, width=320, height=192, **MPEG4)
    path = truncated(whole, tmp_path / "video.avi", keep)
    clean = read_all_frames(whole)
    _, frames = frames_of(path)
    good = [frame for frame in frames if frame.pixels is not None]
    assert len(frames) - 4 <= len(good) < 90
    assert all(np.array_equal(frame.pixels, clean[frame.sample]) for frame in good)


@pytest.mark.parametrize("clock", [1000, 90000])
@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_a_clock_in_place_of_the_rate_is_not_believed(tmp_path, codec, clock):
    path = make_video(tmp_path / "video.avi", codec=codec, rate=Fraction(30000, 1001))
    set_rate(path, clock)
    facts, _ = probe(path)
    assert (facts.rate, facts.constant_rate, facts.frame_count) == ("30000/1001", True, 60)


@needs("ffmpeg")
def test_mpeg4_in_avi_gives_the_lists_of_other_containers(tmp_path):
    avi = make_video(tmp_path / "video.avi", rate=Fraction(30000, 1001), **MPEG4)
    plans = []
    for container in ("mp4", "mkv"):
        path = make_video(tmp_path / f"video.{container}", rate=Fraction(30000, 1001), **MPEG4)
        plans.append(make_plan(probe(path)[1], infer_fps=Fraction(5)))
    ours = make_plan(probe(avi)[1], infer_fps=Fraction(5))
    for plan in plans:
        assert plan.frame_offset.tolist() == ours.frame_offset.tolist()
        assert plan.time_offset.tolist() == ours.time_offset.tolist()
