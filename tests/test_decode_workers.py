"""Several decode workers on one video: what they give together, what they share, what they leave behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tasks.decode_workers import DecodeWorkers
from tasks.decoding import ExtractedFrame, SegmentEnd, extract
from tasks.plans import make_plan
from tasks.probing import probe
from tasks.settings import DecodeSettings
from tasks.spans import spans_of
from tasks.video_refusals import VideoChangedError
from tests.decode_processes import extraction_of, is_gone, shared_memories, until_two_decode, workers_of
from tests.video_files import make_video, read_barcode

ROOT = Path(__file__).resolve().parent.parent
TWO = DecodeSettings(workers=2, stall_timeout_s=3)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("videos") / "video.mp4", frames=480, b_frames=2)


@pytest.fixture(scope="module")
def other_video(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("videos") / "other.mkv", frames=90, gop=30)


@pytest.fixture(scope="module")
def long_groups(tmp_path_factory):
    """No span of it is decoded before its caller has taken some frames."""
    return make_video(tmp_path_factory.mktemp("videos") / "long-groups.mp4", frames=480, gop=120, b_frames=2)


def assert_all_good(frames, count=480):
    assert sorted(frame.sample for frame in frames) == list(range(count))
    assert all(read_barcode(frame.pixels) == frame.sample for frame in frames)


def test_two_workers_share_one_segment_and_give_every_frame_once(video):
    plan, frames = extraction_of(video, TWO)
    given = until_two_decode(frames)
    given += frames
    assert len(plan.segments) == 1
    assert_all_good(given)
    assert [frame.sample for frame in given] != list(range(480))
    for span in spans_of(plan, 0, 2):
        samples = [frame.sample for frame in given if span.start <= frame.sample < span.stop]
        assert samples == list(range(span.start, span.stop))


def test_a_segment_ends_after_its_last_frame_whoever_decodes_it(video):
    settings = DecodeSettings(workers=3, segment_s=3)
    plan = make_plan(probe(video)[1], infer_fps=None, settings=settings)
    seen: Counter[int] = Counter()
    ended = []
    for item in extract(video, plan, range(len(plan.segments)), settings=settings):
        if isinstance(item, SegmentEnd):
            start, stop = plan.segments[item.segment]
            assert seen[item.segment] == stop - start
            ended.append(item.segment)
        else:
            assert item.segment not in ended
            seen[item.segment] += 1
            if item.sample % 60 == 0:
                time.sleep(0.01)
    assert sorted(ended) == list(range(len(plan.segments)))
    assert len(ended) > 3


def test_who_never_waits_for_frames_gets_one_worker(video):
    plan = make_plan(probe(video)[1], infer_fps=None)
    frames = extract(video, plan, [0], settings=DecodeSettings(workers=4))
    most = 0
    for number, _ in zip(range(256), frames, strict=False):
        if number % 32 == 0:
            time.sleep(0.3)
            most = max(most, len(workers_of(os.getpid())))
    frames.close()
    assert most == 1


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSEGV, signal.SIGSTOP])
def test_each_of_two_workers_lost_once_costs_nothing(long_groups, blow):
    _, frames = extraction_of(long_groups, TWO)
    given = until_two_decode(frames)
    # A stopped worker that had nothing to do would be given the other one's span, and hang with that too.
    struck = workers_of(os.getpid())[: 1 if blow == signal.SIGSTOP else 2]
    for worker in struck:
        os.kill(worker, blow)
    assert blow == signal.SIGSTOP or all(map(is_gone, struck))
    given += frames
    assert_all_good(given)
    assert not workers_of(os.getpid())


def test_a_worker_that_died_with_nothing_to_do_is_no_try_of_the_next_span(long_groups):
    with DecodeWorkers(DecodeSettings(workers=1)) as workers:
        plan = make_plan(probe(long_groups, workers=workers)[1], infer_fps=None)
        (idle,) = workers_of(os.getpid())
        os.kill(idle, signal.SIGKILL)
        assert is_gone(idle)
        items = extract(long_groups, plan, range(len(plan.segments)), workers=workers)
        frames = (item for item in items if isinstance(item, ExtractedFrame))
        given = [next(frames)]
        (busy,) = workers_of(os.getpid())
        os.kill(busy, signal.SIGKILL)
        given += frames
    assert_all_good(given)


def test_only_spans_that_lost_two_workers_are_null(long_groups):
    plan, frames = extraction_of(long_groups, TWO)
    given = until_two_decode(frames)
    struck = set()
    for frame in frames:
        given.append(frame)
        for worker in set(workers_of(os.getpid())) - struck if len(struck) < 4 else ():
            os.kill(worker, signal.SIGKILL)
            assert is_gone(worker)
            struck.add(worker)
    assert len(struck) >= 4
    assert sorted(frame.sample for frame in given) == list(range(480))
    lost = {frame.sample for frame in given if frame.pixels is None}
    assert lost
    assert all("by signal 9" in frame.reason and frame.passing for frame in given if frame.pixels is None)
    hit = [set(range(span.start, span.stop)) & lost for span in spans_of(plan, 0, 2)]
    assert 1 <= sum(map(bool, hit)) <= 2
    assert all(read_barcode(frame.pixels) == frame.sample for frame in given if frame.pixels is not None)


def test_probing_and_extracting_share_a_worker_and_another_file_gets_another(video, other_video):
    with DecodeWorkers(DecodeSettings(workers=1)) as workers:
        _, index = probe(video, workers=workers)
        (worker,) = workers_of(os.getpid())
        plan = make_plan(index, infer_fps=Fraction(5))
        for _ in range(2):
            frames = [item for item in extract(video, plan, [0], workers=workers) if isinstance(item, ExtractedFrame)]
            assert [read_barcode(frame.pixels) for frame in frames] == plan.frame_offset.tolist()
            del frames
            while shared_memories(worker):  # it gives them up when it is given back
                time.sleep(0.02)
        assert workers_of(os.getpid()) == [worker]
        probe(other_video, workers=workers)
        assert worker not in workers_of(os.getpid())
        assert len(workers_of(os.getpid())) == 1
    assert not workers_of(os.getpid())


def test_two_extractions_at_once_in_threads(video, other_video):
    given = {}

    def run(path, workers=None):
        plan = make_plan(probe(path, workers=workers)[1], infer_fps=None)
        items = extract(path, plan, [0], workers=workers)
        given[path] = [item for item in items if isinstance(item, ExtractedFrame)]

    for shared in (None, DecodeWorkers(TWO)):
        given.clear()
        threads = [threading.Thread(target=run, args=(path, shared)) for path in (video, other_video)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert_all_good(given[video])
        assert_all_good(given[other_video], 90)
        if shared is not None:
            shared.close()
    assert not workers_of(os.getpid())


def test_a_caller_may_keep_every_frame_or_none_and_memory_goes_with_the_frames(tmp_path):
    path = make_video(tmp_path / "video.mp4", frames=300, width=640, height=384)
    limit = 640 * 2**20  # the worker keeps mappings of a quarter of that; the frames are 221 MB
    for keep in (len, list):
        _, frames = extraction_of(path, DecodeSettings(workers=1, memory_limit_bytes=limit))
        kept = []
        for frame in frames:
            kept.append(frame)
            if keep is len:
                # Each is a mapping, Python's descriptor of that, and the one by which it is handed on.
                assert len(shared_memories(os.getpid())) < 6 * 3 or frame.sample % 20
                assert read_barcode(frame.pixels) == frame.sample
                kept.clear()
        if keep is list:
            assert_all_good(kept, 300)
            assert shared_memories(os.getpid())
        del frame
        kept.clear()
        assert not shared_memories(os.getpid())
    assert not workers_of(os.getpid())


def test_frames_kept_in_any_pattern_are_never_written_over(video):
    _, frames = extraction_of(video, DecodeSettings(workers=1))
    kept, rng = [], np.random.default_rng(7)
    for frame in frames:
        kept.append(frame)
        if rng.random() < 0.5:
            old = kept.pop(int(rng.integers(len(kept))))
            assert read_barcode(old.pixels) == old.sample
    assert all(read_barcode(frame.pixels) == frame.sample for frame in kept)


def test_a_slow_caller_is_no_hanging_worker(video):
    _, frames = extraction_of(video, DecodeSettings(workers=2, stall_timeout_s=3))
    given = [next(frames)]
    time.sleep(4)
    given += frames
    assert_all_good(given)


def test_nothing_is_left_after_an_early_end(video):
    _, frames = extraction_of(video, TWO)
    until_two_decode(frames)
    workers = workers_of(os.getpid())
    frames.close()
    del frames
    assert all(is_gone(worker, 0) for worker in workers)
    assert not shared_memories(os.getpid())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_is_left_when_the_parent_ends(video, number):
    program = (
        "import time; from pathlib import Path; from tests.test_decode_workers import *\n"
        f"_, frames = extraction_of(Path({str(video)!r}), TWO); until_two_decode(frames)\n"
        "print('decoding', flush=True); time.sleep(60)"
    )
    before = sorted(Path("/dev/shm").iterdir())
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout.readline() == "decoding\n"
        workers = workers_of(parent.pid)
        assert len(workers) == 2
        assert all(map(shared_memories, workers))
        parent.send_signal(number)
    assert all(map(is_gone, workers))
    assert sorted(Path("/dev/shm").iterdir()) == before


@pytest.mark.parametrize("segment_s", [3, 120])
def test_a_file_that_changes_is_an_error_and_not_a_mixture(video, other_video, tmp_path, segment_s):
    path = tmp_path / "video.mp4"
    path.write_bytes(video.read_bytes())
    settings = DecodeSettings(workers=1, segment_s=segment_s)
    with DecodeWorkers(settings) as workers:
        plan = make_plan(probe(path, workers=workers)[1], infer_fps=None, settings=settings)
        items = extract(path, plan, range(len(plan.segments)), workers=workers)
        next(items)
        (tmp_path / "other").write_bytes(other_video.read_bytes())
        (tmp_path / "other").replace(path)
        with pytest.raises(VideoChangedError, match=r"video\.mp4 was changed.* while it was being read"):
            list(items)
        with pytest.raises(VideoChangedError):
            next(extract(path, plan, [0], workers=workers))
        assert probe(path, workers=workers)[0].frame_count == 90
    path.unlink()
    assert not workers_of(os.getpid())
