"""The plain parts of the upload flows."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tasks.downloads import TooLargeError
from tasks.settings import UploadSettings
from tasks.store import LocalStore, NotAResultError, S3Store
from tasks.upload_steps import (
    LocalPathError,
    NoResultError,
    UploadSourceError,
    allowed_path,
    offer_text,
    offer_upload,
    register_source,
    result_address,
)
from tasks.videos import EmptyFileError, FileNameError


@pytest.fixture
def settings(tmp_path: Path) -> UploadSettings:
    (tmp_path / "films" / "folder").mkdir(parents=True)
    (tmp_path / "films" / "film.mp4").write_bytes(b"x")
    (tmp_path / "secret.mp4").write_bytes(b"x")
    (tmp_path / "films" / "link.mp4").symlink_to(tmp_path / "secret.mp4")
    (tmp_path / "films" / "up").symlink_to(tmp_path)
    return UploadSettings(local_dir=tmp_path / "films")


def test_paths_inside_the_workers_folder(settings: UploadSettings, tmp_path: Path) -> None:
    for path in ("film.mp4", "folder/../film.mp4", str(tmp_path / "films" / "film.mp4")):
        assert allowed_path(path, settings) == tmp_path / "films" / "film.mp4"


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../secret.mp4", "link.mp4", "up/secret.mp4", "a\0b", "folder/../../x"]
)
def test_paths_outside_the_workers_folder(settings: UploadSettings, path: str) -> None:
    with pytest.raises(LocalPathError, match="lies outside"):
        allowed_path(path, settings)


def test_no_paths_at_all_unless_a_setting_says_so(tmp_path: Path) -> None:
    with pytest.raises(LocalPathError, match="REELMILL_UPLOAD_LOCAL_DIR"):
        allowed_path(str(tmp_path), UploadSettings(local_dir=None))


def test_one_source_and_only_one(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    for sources in ({}, {"upload_id": "0" * 32, "path": "film.mp4"}, {"file_name": "film.mp4"}):
        with pytest.raises(UploadSourceError):
            register_source(store, **sources)


@pytest.mark.parametrize(
    ("file_name", "size_bytes", "error"),
    [
        ("film.mov", 1, FileNameError),
        ("../film.mp4", 1, FileNameError),
        ("film.mp4", 0, EmptyFileError),
        ("film.mp4", 101, TooLargeError),
    ],
)
def test_an_offer_is_checked_at_once(s3_store: S3Store, file_name: str, size_bytes: int, error) -> None:
    with pytest.raises(error):
        offer_upload(s3_store, file_name, size_bytes, UploadSettings(max_video_bytes=100))


def test_an_offered_command_survives_a_shell(s3_store: S3Store) -> None:
    name = "a'; touch x; `id` $(id).mp4"
    offer = offer_upload(s3_store, name, 5)
    command = offer_text(offer, name).split("```sh\n")[1].split("\n```")[0]
    assert shlex.split(command)[-2:] == [name, offer.url]
    assert offer.headers == {"Content-Length": "5"}


def test_no_two_offers_share_an_id(s3_store: S3Store) -> None:
    assert len({offer_upload(s3_store, "film.mp4", 5).upload_id for _ in range(20)}) == 20


def test_only_results_are_linked(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.write("videos/1/job.json", b"{}")
    store.write("jobs/1/result.json", b'{"prefix": "videos/1"}')
    with pytest.raises(NotAResultError):
        result_address(store, "1", "job.json")
    with pytest.raises(NoResultError):
        result_address(store, "1", "source")
    store.write("jobs/2/result.json", b"{}")
    for job_id in ("2", "3"):
        with pytest.raises(NoResultError):
            result_address(store, job_id, "job.json")
