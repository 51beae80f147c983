"""Ten hours of video: the index, the plan and sparse frames of a file of a million packets."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from tasks.decode_workers import DecodeWorkers
from tasks.decoding import ExtractedFrame, extract
from tasks.plans import make_plan
from tasks.probing import probe
from tasks.settings import DecodeSettings
from tests.benchmarks.long_videos import FPS, long_video
from tests.video_files import read_all_frames

pytestmark = pytest.mark.long
HOURS = 10
CLIP_FRAMES = 60 * FPS


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """The minute that long videos repeat, and all of its frames."""
    folder = tmp_path_factory.mktemp("long")
    return folder, read_all_frames(long_video(folder, "mp4", 60))


@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_ten_hours_are_sampled_exactly(clip, container):
    folder, frames_of_a_minute = clip
    path = long_video(folder, container, HOURS * 3600)
    with DecodeWorkers(DecodeSettings(workers=2)) as workers:
        facts, index = probe(path)
        assert (facts.frame_count, facts.rate, facts.constant_rate) == (HOURS * 3600 * FPS, str(FPS), True)
        assert (facts.counted_by, facts.frames_missing, facts.duration_s) == ("index", 0, HOURS * 3600.0)
        for infer_fps in (Fraction(1, 5), Fraction(1)):
            plan = make_plan(index, infer_fps=infer_fps)
            assert len(plan) == HOURS * 3600 * infer_fps
            given = set()
            for item in extract(path, plan, range(len(plan.segments)), facts=facts, workers=workers):
                if isinstance(item, ExtractedFrame):
                    offset = int(plan.frame_offset[item.sample])
                    assert item.pixels is not None, (offset, item.reason)
                    assert np.array_equal(item.pixels, frames_of_a_minute[offset % CLIP_FRAMES]), offset
                    given.add(item.sample)
            assert given == set(range(len(plan)))
