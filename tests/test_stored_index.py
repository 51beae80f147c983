"""The index that registration leaves in the store: exact, for its own bytes only, made again where it is missing."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tasks.probing import probe
from tasks.store import Store, open_store
from tasks.stored_index import BadIndexError, index_from_bytes, index_key, index_of, index_to_bytes
from tasks.video_index import VideoIndex
from tasks.video_records import UnknownVideoError, source_key
from tasks.videos import register_file
from tests.video_files import Recipe, make_video


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def assert_same(ours: VideoIndex, theirs: VideoIndex) -> None:
    for name in ("pts", "key_pts", "leading"):
        one, other = getattr(ours, name), getattr(theirs, name)
        assert one.dtype == other.dtype
        assert np.array_equal(one, other)
    for name in ("time_base", "average_rate", "last_duration", "counted_by", "ticks_are_frames"):
        assert getattr(ours, name) == getattr(theirs, name)


@pytest.mark.parametrize(
    "recipe",
    [Recipe(b_frames=2, gop=10), Recipe(frames=9, pts=[0, 1, 5, 6, 9, 20, 21, 30, 31], time_base=Fraction(1, 30))],
)
@pytest.mark.parametrize("extension", ["mp4", "mkv", "avi"])
def test_what_registration_keeps_is_what_probing_finds(store: Store, tmp_path: Path, recipe, extension) -> None:
    path = make_video(tmp_path / f"a.{extension}", recipe)
    video = register_file(store, path)
    (tmp_path / "store" / source_key(video.video_id)).rename(tmp_path / "kept")
    with pytest.raises(UnknownVideoError, match="register it again"):
        index_of(store, video, tmp_path)
    (tmp_path / "kept").rename(tmp_path / "store" / source_key(video.video_id))
    kept = index_from_bytes(store.read(index_key(video.video_id)), video.sha256)
    assert_same(kept, probe(path)[1])
    assert_same(index_of(store, video, tmp_path), kept)


@pytest.mark.parametrize("damage", ["gone", "cut", "other"])
def test_an_index_that_does_not_fit_is_made_again(store: Store, tmp_path: Path, damage) -> None:
    video = register_file(store, make_video(tmp_path / "a.mp4", Recipe(frames=20)))
    key = index_key(video.video_id)
    right = store.read(key)
    if damage == "gone":
        store.delete([key])
    else:
        foreign = index_to_bytes(index_from_bytes(right, video.sha256), "0" * 64)
        store.write(key, right[:-40] if damage == "cut" else foreign)
        with pytest.raises(BadIndexError):
            index_from_bytes(store.read(key), video.sha256)
    assert index_of(store, video, tmp_path).frame_count == 20
    assert store.read(key) == right


def test_an_hour_takes_little_room() -> None:
    frames = np.arange(108_000)
    index = VideoIndex(frames * 512, frames[::250] * 512, np.zeros(len(frames), bool), Fraction(1, 15360))
    data = index_to_bytes(index, "0" * 64)
    assert len(data) < 20_000
    assert_same(index_from_bytes(data, "0" * 64), index)
