"""Memory of all processes together grows with the length of a video by its index only."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.decode_memory import LongRun, allowed_bytes, long_run

CONTAINERS = ("mkv", "mp4")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("long-videos")


@pytest.fixture(scope="module", params=CONTAINERS)
def one_minute(request: pytest.FixtureRequest, folder: Path) -> LongRun:
    return long_run(folder, request.param, 60)


@pytest.mark.long
@pytest.mark.parametrize("seconds", [600, 3600, 36000])
def test_memory_grows_by_16_bytes_a_packet_and_by_the_table_of_libav(
    one_minute: LongRun, folder: Path, seconds: int
) -> None:
    run = long_run(folder, one_minute.container, seconds)
    assert (run.packets, run.frames) == (30 * seconds, seconds)
    assert run.peak_bytes <= allowed_bytes(run, one_minute)
