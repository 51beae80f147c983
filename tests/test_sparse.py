"""Sparse decoding of streams that make it hard: whatever is left out, no pixel of what is delivered may change."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from fractions import Fraction

import av
import numpy as np
import pytest

from tasks.decode_av1 import Av1Frames
from tasks.decode_workers import DecodeWorkers
from tasks.decoding import ExtractedFrame, extract
from tasks.plans import make_plan
from tasks.probing import probe
from tasks.settings import DecodeSettings
from tests.requirements import needs
from tests.video_files import barcode, make_video, read_all_frames, read_barcode

SETTINGS = DecodeSettings(segment_s=2, workers=1)
RATES = (Fraction(1, 5), Fraction(1), Fraction(5), None)
STREAMS = {
    "a group of 600 frames": ("mp4", {"frames": 600, "gop": 1000, "b_frames": 3}),
    "groups of a second": ("mp4", {"frames": 150, "gop": 30, "b_frames": 3}),
    "referenced B-frames": (
        "mkv",
        {"frames": 120, "gop": 60, "b_frames": 7, "options": {"x264-params": "ref=4:b-adapt=0"}},
    ),
    "hevc with leading pictures": ("mp4", {"codec": "libx265", "frames": 120, "gop": 24, "b_frames": 4}),
    "hevc without leading pictures": (
        "mkv",
        {"codec": "libx265", "gop": 24, "b_frames": 3, "options": {"x265-params": "open-gop=0:log-level=none"}},
    ),
    "av1": ("mp4", {"codec": "libsvtav1", "frames": 120, "gop": 48}),
    "vp9 with hidden frames": (
        "webm",
        {"gop": 48, "options": {"auto-alt-ref": "1", "lag-in-frames": "12", "deadline": "good"}},
    ),
    "interlaced": ("mp4", {"b_frames": 3, "gop": 30, "options": {"x264-params": "interlaced=1"}}),
}


def samples_at(path, infer_fps, workers):
    """Plan and frames of a video at a rate, in the plan's order."""
    facts, index = probe(path, SETTINGS)
    plan = make_plan(index, infer_fps=infer_fps, settings=SETTINGS)
    items = extract(path, plan, range(len(plan.segments)), facts=facts, settings=SETTINGS, workers=workers)
    frames = sorted((item for item in items if isinstance(item, ExtractedFrame)), key=lambda frame: frame.sample)
    assert [frame.sample for frame in frames] == list(range(len(plan)))
    return plan, frames


def check_against_sequential(path):
    reference = read_all_frames(path)
    with DecodeWorkers(SETTINGS) as workers:
        for infer_fps in RATES:
            plan, frames = samples_at(path, infer_fps, workers)
            assert [frame.reason for frame in frames] == [None] * len(plan)
            for frame, offset in zip(frames, plan.frame_offset.tolist(), strict=True):
                assert np.array_equal(frame.pixels, reference[offset]), (infer_fps, offset)
    return reference


@pytest.mark.parametrize("name", STREAMS)
def test_frames_equal_those_of_sequential_decoding(tmp_path, name):
    container, changes = STREAMS[name]
    path = make_video(tmp_path / f"video.{container}", **changes)
    assert len(check_against_sequential(path)) == changes.get("frames", 60)


@needs("ffmpeg")
@pytest.mark.parametrize(("container", "start_s"), [("mp4", "0.7"), ("mkv", "0.7")])
def test_a_copy_cut_in_mid_group_shows_what_its_edit_list_says(tmp_path, container, start_s):
    whole = make_video(tmp_path / "whole.mp4", frames=90, gop=30, b_frames=3)
    path = tmp_path / f"video.{container}"
    command = ["ffmpeg", "-v", "error", "-ss", start_s, "-i", whole, "-c", "copy", path]
    subprocess.run(command, check=True)
    check_against_sequential(path)


def test_frames_before_the_first_keyframe_are_missing_never_wrong(tmp_path):
    whole = make_video(tmp_path / "whole.mkv", frames=60, gop=20, b_frames=2, options={"x264-params": "scenecut=0"})
    path = tmp_path / "video.mkv"
    with av.open(str(whole)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(video=0) if packet.size]
        for packet in packets[1:]:
            packet.stream = stream
            target.mux(packet)
    with DecodeWorkers(SETTINGS) as workers:
        plan, frames = samples_at(path, None, workers)
    numbers = [None if frame.pixels is None else read_barcode(frame.pixels) for frame in frames]
    assert numbers[-40:] == list(range(20, 60))
    assert numbers[:-40] == [None] * (len(plan) - 40)
    assert all(frame.reason for frame in frames[:-40])


def test_a_stream_whose_frames_are_reordered_further_from_the_middle_on(tmp_path):
    path = tmp_path / "video.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        contexts = [stream.codec_context, av.CodecContext.create("libx264", "w")]
        for part, (context, b_frames) in enumerate(zip(contexts, (0, 4), strict=True)):
            context.width, context.height, context.pix_fmt, context.gop_size = 160, 96, "yuv420p", 25
            context.time_base, context.framerate, context.max_b_frames = Fraction(1, 25), Fraction(25), b_frames
            # The parameter sets of the second part stand in the stream.
            frames = [av.VideoFrame.from_ndarray(barcode(n), format="rgb24") for n in range(50 * part, 50 * part + 50)]
            for number, frame in enumerate(frames):
                frame.pts, frame.time_base = number + 60 * part, Fraction(1, 25)
            for packet in [p for frame in [*frames, None] for p in context.encode(frame)]:
                packet.stream, packet.time_base = stream, Fraction(1, 25)
                container.mux(packet)
    reference = check_against_sequential(path)
    assert [read_barcode(pixels) for pixels in reference] == list(range(100))


def test_av1_frames_that_nothing_refers_to_change_no_other(tmp_path):
    path = make_video(tmp_path / "video.mp4", codec="libsvtav1", frames=96, gop=48, grain=8)
    with av.open(str(path)) as container:
        follower, decoder = Av1Frames(), container.streams.video[0].codec_context
        packets = [packet for packet in container.demux(video=0) if packet.size]
        needed = [packet for packet in packets if follower.is_needed_later(memoryview(packet))]
        assert 10 < len(packets) - len(needed) < 60
        frames = [frame for packet in [*needed, None] for frame in decoder.decode(packet)]
    with av.open(str(path)) as container:
        reference = {frame.pts: frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)}
    assert len(frames) == len(needed)
    assert all(np.array_equal(frame.to_ndarray(format="rgb24"), reference[frame.pts]) for frame in frames)


def test_making_av1_leaves_the_process_as_it_was(tmp_path):
    before = os.sched_getscheduler(0)
    make_video(tmp_path / "video.mp4", codec="libsvtav1", frames=4)
    assert os.sched_getscheduler(0) == before


def test_av1_packets_that_are_not_understood_are_needed(tmp_path):
    path = make_video(tmp_path / "video.mp4", codec="libsvtav1", frames=24)
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    follower = Av1Frames()
    verdicts = Counter(follower.is_needed_later(memoryview(packet)) for packet in packets)
    assert verdicts[False]
    for packet in packets:
        for broken in (packet[: len(packet) // 2], b"\x00" * len(packet), b"\xff" + packet[1:], b""):
            assert follower.is_needed_later(memoryview(broken))
    # Without the sequence header that comes first, no frame's header can be read.
    assert all(Av1Frames().is_needed_later(memoryview(packet)) for packet in packets)


@needs("ffmpeg")
def test_av1_with_headers_that_a_strict_decoder_refuses_still_decodes(tmp_path):
    whole = make_video(tmp_path / "whole.mp4", codec="libsvtav1", frames=24)
    path = tmp_path / "video.mp4"
    # The identity matrix is for 4:4:4 only (AV1, 6.4.2).
    bent = "av1_metadata=matrix_coefficients=0"
    subprocess.run(["ffmpeg", "-v", "error", "-i", whole, "-c", "copy", "-bsf:v", bent, path], check=True)
    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.options = {"strict": "strict"}
        with pytest.raises(av.error.InvalidDataError):
            next(container.decode(video=0))
    with DecodeWorkers(SETTINGS) as workers:
        assert probe(path, SETTINGS, workers=workers)[0].frame_count == 24
        assert all(frame.pixels is not None for frame in samples_at(path, None, workers)[1])
