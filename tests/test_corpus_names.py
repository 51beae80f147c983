"""File names that are odd, at the doors where users give them: `probe` takes every file, the store only plain names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deployments.cli import run
from tasks.local_store import LocalStore
from tasks.videos import FileNameError, register_file
from tests.video_files import make_video

TAKEN = {
    "spaces": b"with spaces (1).mp4",
    "255 bytes": b"x" * 251 + b".mp4",
    "255 bytes of 130 letters": "ü".encode() * 125 + b"-.mp4",
    "like a URL": b"http:a?b#c&d %20.mp4",
    "like a pattern": b"%d-%05d*.mp4",
}
REFUSED = {
    "newline": (b"new\nline.mp4", r"'new\nline.mp4'"),
    "not UTF-8": (b"\xff\xfe.mp4", r"'\udcff\udcfe.mp4'"),
    "terminal's orders": (b"\x1b[31mred.mp4", r"'\x1b[31mred.mp4'"),
    "letters that turn the text around": ("\u202e4pm.mp4".encode(), r"'\u202e4pm.mp4'"),
}
"""What the store doesn't take as a name, and how it is shown."""


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("film") / "film.mp4", frames=5)


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path / "store")


def named(folder: Path, name: bytes, content: bytes) -> Path:
    path = folder / os.fsdecode(name)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", TAKEN.values(), ids=TAKEN)
def test_a_file_of_an_odd_name_is_registered(tmp_path, store, film, name):
    video = register_file(store, named(tmp_path, name, film.read_bytes()))
    assert (video.file_name, video.facts.frame_count) == (os.fsdecode(name), 5)


@pytest.mark.parametrize(("name", "shown"), REFUSED.values(), ids=REFUSED)
def test_a_name_that_could_mislead_is_not_registered(tmp_path, store, film, name, shown):
    with pytest.raises(FileNameError) as refusal:
        register_file(store, named(tmp_path, name, film.read_bytes()))
    assert str(refusal.value) == f"{shown} cannot name a video; take a name without folders, such as holiday.mp4."


@pytest.mark.parametrize(("name", "shown"), REFUSED.values(), ids=REFUSED)
def test_a_file_of_any_name_is_probed_and_its_name_shown_harmlessly(tmp_path, capsys, film, name, shown):
    path = named(tmp_path, name, film.read_bytes())
    assert run(["probe", str(path)]) == 0
    assert "5" in capsys.readouterr().out
    path.write_bytes(b"no video")
    assert run(["probe", str(path)]) == 2
    assert capsys.readouterr().err == f"reelmill: {shown} is not a video; give an mp4, mkv, webm or avi file.\n"
    path.unlink()
    assert run(["probe", str(path)]) == 2
    assert capsys.readouterr().err == f"reelmill: there is no file {str(path)!r}; check the path.\n"


@pytest.mark.parametrize("name", ["../film.mp4", "/film.mp4", "..\\film.mp4", "a/b.mp4", "..", "film.mp4/"])
def test_a_name_that_leads_elsewhere_is_refused(store, film, name):
    with pytest.raises(FileNameError, match=r"cannot name a video|has none of the extensions"):
        register_file(store, film, file_name=name)


def test_a_path_may_lead_through_the_folder_above(tmp_path, store, film):
    (tmp_path / "inner").mkdir()
    named(tmp_path, b"film.mp4", film.read_bytes())
    assert register_file(store, tmp_path / "inner" / ".." / "film.mp4").file_name == "film.mp4"
