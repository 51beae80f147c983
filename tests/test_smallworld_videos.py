"""Videos of the small world show what their truth says, and training sees what the models' processors make of them."""

from __future__ import annotations

import importlib
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from tests.smallworld.scenes import CROWD, PAIR, SINGLE
from tests.smallworld.stills import pixel_values, sampled, worn_stills
from tests.smallworld.tokens import WORDS, make_tokenizer
from tests.smallworld.videos import read_stored, uneven_times, video_samples, write_video
from tests.video_files import read_all_frames


def grey_levels_apart(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(float) - other.astype(float)).mean())


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_frames_as_shown_are_those_of_the_truth(tmp_path: Path, rotation: int) -> None:
    video = write_video(tmp_path / "turned.mp4", CROWD, 20_000_001, frames=24, rotation=rotation)
    shown = read_all_frames(video.path)
    assert len(shown) == 24
    apart = [grey_levels_apart(rgb, video.truth(index).rgb) for index, rgb in enumerate(shown)]
    assert max(apart) < 8
    # The truth of half a second later is another: these frames are told apart.
    assert grey_levels_apart(shown[0], video.truth(12).rgb) > apart[0] + 1


def test_a_variable_rate_is_written_to_the_tick(tmp_path: Path) -> None:
    times_s = uneven_times(5, 20)
    video = write_video(tmp_path / "uneven.mp4", CROWD, 20_000_002, times_s=times_s)
    with av.open(str(video.path)) as container:
        stored_s = [frame.pts * frame.time_base for frame in container.decode(video=0)]
    assert tuple(stored_s) == times_s == video.times_s
    assert len({later - earlier for earlier, later in pairwise(times_s)}) > 10
    assert grey_levels_apart(read_stored(video.path)[-1], video.truth(19).rgb) < 8


def test_a_rate_that_is_no_whole_number_stays_exact(tmp_path: Path) -> None:
    video = write_video(tmp_path / "ntsc.mp4", SINGLE, 20_000_003, frames=5, rate=Fraction(30000, 1001))
    with av.open(str(video.path)) as container:
        assert container.streams.video[0].average_rate == Fraction(30000, 1001)
    assert video.times_s[3] == Fraction(3003, 30000)


def test_an_odd_rotation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not by 45"):
        write_video(tmp_path / "no.mp4", CROWD, 1, rotation=45)


def test_samples_are_coded_frames_beside_their_truth(tmp_path: Path) -> None:
    samples = video_samples(PAIR, [20_000_004, 20_000_005], tmp_path, frames=9, every=4)
    assert [sample.seed for sample in samples] == [20_000_004] * 3 + [20_000_005] * 3
    for sample in samples:
        assert 0 < grey_levels_apart(sample.rgb, sample.truth.rgb) < 8


@pytest.mark.parametrize("task", ["detection", "semantic", "instance", "classification", "clip"])
def test_training_sees_what_the_processor_makes(task: str) -> None:
    processor = importlib.import_module(f"tests.smallworld.training_{task}").processor()
    pictures, _ = worn_stills(CROWD, range(3))
    expected = processor(images=pictures, return_tensors="pt")["pixel_values"]
    assert np.allclose(pixel_values(processor, pictures), expected, atol=1e-5)


def test_wear_leaves_the_truth_in_place() -> None:
    pictures, frames = worn_stills(CROWD, range(30))
    apart = [grey_levels_apart(picture, frame.rgb) for picture, frame in zip(pictures, frames, strict=True)]
    assert max(apart) > 4
    assert max(apart) < 40
    for picture, frame in zip(pictures, frames, strict=True):
        for seen in frame.seen:
            inside = picture[seen.mask].astype(float).mean(0)
            assert np.abs(inside - np.array(seen.object.rgb)).max() < 60


def test_label_maps_are_sampled_at_pixel_centres() -> None:
    columns = np.arange(320)[None, :].repeat(240, 0)
    assert sampled(columns, 160)[7].tolist() == list(range(1, 320, 2))
    assert sampled(columns.T[:240, :240], 240).shape == (240, 240)


def test_the_tokenizer_knows_the_words_whole_and_all_other_text_in_bytes() -> None:
    tokenizer = make_tokenizer()
    for word in WORDS:
        assert len(tokenizer(word)["input_ids"]) == 3  # with the start and the end
    assert tokenizer("a red circle and a blue star")["input_ids"].count(tokenizer.unk_token_id) == 1  # the end
    assert tokenizer.decode(tokenizer("a photo of über-cats")["input_ids"], skip_special_tokens=True).strip()
