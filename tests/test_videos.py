"""Registration through both homes of the store, with real video files, a real S3 server and a real web server."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from models.errors import PermanentError
from tasks.downloads import TooLargeError
from tasks.settings import UploadSettings
from tasks.store import KeyNotFoundError, LocalStore, ObjectChangedError, S3Store, Store
from tasks.video_refusals import NotAVideoError, NoVideoStreamError, TruncatedVideoError
from tasks.videos import (
    ContainerMismatchError,
    EmptyFileError,
    ExpiredVideoError,
    FileChangedError,
    FileMissingError,
    FileNameError,
    UnknownUploadError,
    UnknownVideoError,
    Video,
    delete_video,
    find_video,
    list_videos,
    register_file,
    register_upload,
    register_url,
)
from tests.https_server import Page, running_web_server
from tests.video_files import make_audio_only, make_no_video, make_video, truncated

UPLOAD_ID = "0123456789abcdef0123456789abcdef"


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "local":
        return LocalStore(tmp_path / "store")
    return request.getfixturevalue("s3_store")


@pytest.fixture
def local(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELMILL_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    for extension in ("mp4", "mkv", "webm", "avi"):
        make_video(folder / f"film.{extension}", frames=20)
    return folder


def keys(store: Store) -> list[str]:
    return [info.key for info in store.list("")]


def test_a_file_becomes_a_video_named_by_its_content(store: Store, films: Path) -> None:
    data = (films / "film.mp4").read_bytes()
    video = register_file(store, films / "film.mp4")
    assert video.video_id == video.sha256[:32]
    assert (video.file_name, video.size_bytes, video.origin) == ("film.mp4", len(data), None)
    facts = video.facts
    assert (facts.container, facts.width, facts.height, facts.rate, facts.frame_count) == ("mp4", 160, 96, "30", 20)
    assert video.expires_at - video.registered_at == timedelta(days=7)
    assert abs(video.registered_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert keys(store) == [f"videos/{video.video_id}/{name}" for name in ("index-1.arrow", "source", "video.json")]
    assert store.read(f"videos/{video.video_id}/source") == data
    assert find_video(store, video.video_id) == video
    assert list(list_videos(store)) == [video]


@pytest.mark.parametrize("extension", ["mp4", "mkv", "webm", "avi"])
def test_every_container_in_either_case(local: LocalStore, films: Path, extension: str) -> None:
    video = register_file(local, films / f"film.{extension}", file_name=f"Film.{extension.upper()}")
    assert video.facts.container == extension


def test_the_same_bytes_twice_are_one_video_with_a_renewed_expiry(store: Store, films: Path, tmp_path: Path) -> None:
    first = register_file(store, films / "film.mp4", settings=UploadSettings(keep_days=1))
    written = store.stat(f"videos/{first.video_id}/source")
    (tmp_path / "again.mp4").write_bytes((films / "film.mp4").read_bytes())
    second = register_file(store, tmp_path / "again.mp4")
    assert second.video_id == first.video_id
    assert second.expires_at > first.expires_at + timedelta(days=5)
    assert find_video(store, first.video_id).expires_at == second.expires_at
    assert store.stat(f"videos/{first.video_id}/source") == written
    assert len(keys(store)) == 3


def test_a_source_that_was_lost_is_written_again(store: Store, films: Path) -> None:
    video = register_file(store, films / "film.mp4")
    store.delete([f"videos/{video.video_id}/source"])
    register_file(store, films / "film.mp4")
    assert store.stat(f"videos/{video.video_id}/source").size_bytes == video.size_bytes


@pytest.mark.parametrize(
    "name",
    [
        *("film.mov", "film.txt", "film", "mp4", ".mp4", "film.mp4.exe", "", "a/b.mp4", "../b.mp4", "a\\b.mp4"),
        *("a\nb.mp4", "x" * 252 + ".mp4", "a\u202emp4.mp4"),
    ],
)
def test_names_that_are_not_taken(local: LocalStore, films: Path, name: str) -> None:
    with pytest.raises(FileNameError):
        register_file(local, films / "film.mp4", file_name=name)
    assert keys(local) == []


def test_the_name_must_agree_with_the_content(local: LocalStore, films: Path) -> None:
    with pytest.raises(ContainerMismatchError, match=r"'film\.mkv' is named mkv and is mp4 inside"):
        register_file(local, films / "film.mp4", file_name="film.mkv")
    with pytest.raises(ContainerMismatchError, match="named avi and is webm"):
        register_file(local, films / "film.webm", file_name="film.avi")
    assert register_file(local, films / "film.webm", file_name="film.mkv").facts.container == "webm"


@pytest.mark.parametrize("kind", ["text", "zip", "playlist", "picture", "sound"])
def test_what_is_no_video(local: LocalStore, tmp_path: Path, kind: str) -> None:
    with pytest.raises(NotAVideoError, match=r"video\.mp4"):
        register_file(local, make_no_video(tmp_path, kind))
    assert keys(local) == []


def test_files_that_hold_no_video(local: LocalStore, films: Path, tmp_path: Path) -> None:
    with pytest.raises(NoVideoStreamError):
        register_file(local, make_audio_only(tmp_path / "song.mp4"))
    with pytest.raises(TruncatedVideoError):
        register_file(local, truncated(films / "film.mp4", tmp_path / "cut.mp4", 0.5))
    with pytest.raises(EmptyFileError):
        register_file(local, make_no_video(tmp_path, "empty"))
    assert keys(local) == []


def test_files_that_are_not_there(local: LocalStore, tmp_path: Path) -> None:
    (tmp_path / "folder.mp4").mkdir()
    os.mkfifo(tmp_path / "pipe.mp4")
    for name in ("none.mp4", "folder.mp4", "pipe.mp4", "x" * 300 + ".mp4"):
        with pytest.raises((FileMissingError, FileNameError)):
            register_file(local, tmp_path / name)


def test_a_file_larger_than_allowed_is_refused_before_it_is_read(local: LocalStore, tmp_path: Path) -> None:
    with (tmp_path / "huge.mp4").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(TooLargeError, match=r"1\.0 TiB"):
        register_file(local, tmp_path / "huge.mp4")


class ChangingStore(LocalStore):
    """A store whose caller's file is written to while it is copied."""

    def write_file(self, key: str, path: Path) -> None:
        super().write_file(key, path)
        with path.open("ab") as file:
            file.write(b"more")


def test_a_file_that_changes_meanwhile_is_not_registered(films: Path, tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes((films / "film.mp4").read_bytes())
    store = ChangingStore(tmp_path / "store")
    with pytest.raises(FileChangedError):
        register_file(store, tmp_path / "film.mp4")
    assert keys(store) == []


@pytest.mark.parametrize("video_id", ["f" * 32, "f" * 31, "F" * 32, "", "../../etc/passwd", "f" * 32 + "\n"])
def test_an_id_that_is_none(local: LocalStore, video_id: str) -> None:
    with pytest.raises(UnknownVideoError):
        find_video(local, video_id)
    with pytest.raises(UnknownVideoError):
        delete_video(local, video_id)


def test_an_expired_video_is_found_only_by_the_job_that_holds_it(local: LocalStore, films: Path) -> None:
    video = register_file(local, films / "film.mp4", settings=UploadSettings(keep_days=1e-9))
    with pytest.raises(ExpiredVideoError, match="register it again"):
        find_video(local, video.video_id)
    assert find_video(local, video.video_id, held=True) == video


def test_a_record_that_is_none_stops_nobody_else(local: LocalStore, films: Path) -> None:
    video = register_file(local, films / "film.mp4")
    local.write(f"videos/{'0' * 32}/video.json", b"{}")
    assert list(list_videos(local)) == [video]
    with pytest.raises(UnknownVideoError, match="cannot be read"):
        find_video(local, "0" * 32)


def test_a_deleted_video_is_gone_with_its_plans(store: Store, films: Path) -> None:
    video = register_file(store, films / "film.mp4")
    other = register_file(store, films / "film.mkv")
    store.write(f"videos/{video.video_id}/plans/0.arrow", b"x")
    assert delete_video(store, video.video_id) == 4
    assert list(list_videos(store)) == [other]
    with pytest.raises(UnknownVideoError):
        delete_video(store, video.video_id)


class TestUploads:
    def test_what_was_put_becomes_a_video(self, s3_store: S3Store, films: Path, tmp_path: Path) -> None:
        data = (films / "film.webm").read_bytes()
        put = s3_store.presign_put(f"incoming/{UPLOAD_ID}/film.webm", size_bytes=len(data), expires_s=60)
        assert httpx.request(put.method, put.url, content=data, headers=put.headers).status_code == 200
        video = register_upload(s3_store, UPLOAD_ID)
        assert (video.facts.container, video.file_name) == ("webm", "film.webm")
        assert s3_store.read(f"videos/{video.video_id}/source") == data
        assert keys(s3_store) == [
            f"incoming/{UPLOAD_ID}.json",
            *(f"videos/{video.video_id}/{name}" for name in ("index-1.arrow", "source", "video.json")),
        ]
        assert [path.name for path in (tmp_path / "cache" / "videos").iterdir()] == [video.video_id]
        assert list((tmp_path / "cache" / "incoming").iterdir()) == []
        assert register_upload(s3_store, UPLOAD_ID) == video

    def test_what_is_swapped_after_it_was_checked_is_not_copied(self, store: Store, films: Path, monkeypatch) -> None:
        key = f"incoming/{UPLOAD_ID}/film.mp4"
        store.write_file(key, films / "film.mp4")
        real = store.copy

        def swap_then_copy(*arguments, **options):
            store.write(key, b"something else")
            real(*arguments, **options)

        monkeypatch.setattr(store, "copy", swap_then_copy)
        with pytest.raises(ObjectChangedError):
            register_upload(store, UPLOAD_ID)
        assert keys(store) == [key]

    def test_its_size_is_checked_before_it_is_read(self, store: Store, monkeypatch) -> None:
        store.write(f"incoming/{UPLOAD_ID}/film.mp4", bytes(2000))
        monkeypatch.setattr(store, "fetch", lambda *_, **__: pytest.fail("was read"))
        with pytest.raises(TooLargeError):
            register_upload(store, UPLOAD_ID, settings=UploadSettings(max_video_bytes=1000))

    def test_a_refused_upload_can_be_put_again(self, store: Store, films: Path, tmp_path: Path) -> None:
        store.write(f"incoming/{UPLOAD_ID}/film.mp4", b"no video")
        with pytest.raises(NotAVideoError, match=r"film\.mp4"):
            register_upload(store, UPLOAD_ID)
        assert keys(store) == [f"incoming/{UPLOAD_ID}/film.mp4"]
        assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []
        store.write_file(f"incoming/{UPLOAD_ID}/film.mp4", films / "film.mp4")
        register_upload(store, UPLOAD_ID)

    @pytest.mark.parametrize("upload_id", ["f" * 32, "", "..", "../videos", UPLOAD_ID[:-1]])
    def test_an_upload_id_that_is_none(self, store: Store, upload_id: str) -> None:
        store.write(f"incoming/{UPLOAD_ID}/film.mp4", b"x")
        with pytest.raises(UnknownUploadError, match="request-upload"):
            register_upload(store, upload_id)


class TestUrls:
    SETTINGS = UploadSettings(allow_http=True, allow_private_hosts=True)

    def test_a_url_becomes_a_video_and_its_signature_stands_nowhere(self, store: Store, films: Path) -> None:
        with running_web_server() as web:
            web.pages["/f/film.mkv"] = Page((films / "film.mkv").read_bytes())
            base = f"http://127.0.0.1:{web.port}/f/film.mkv"
            video = register_url(store, f"{base}?Signature=top-secret", settings=self.SETTINGS)
        assert (video.file_name, video.origin) == ("film.mkv", f"{base}?…")
        assert b"secret" not in store.read(f"videos/{video.video_id}/video.json")
        assert store.read(f"videos/{video.video_id}/source") == (films / "film.mkv").read_bytes()

    def test_a_url_without_a_name_needs_one(self, local: LocalStore, films: Path) -> None:
        with running_web_server() as web:
            web.pages["/download"] = Page((films / "film.mp4").read_bytes())
            url = f"http://127.0.0.1:{web.port}/download?id=secret"
            with pytest.raises(FileNameError) as caught:
                register_url(local, url, settings=self.SETTINGS)
            assert "secret" not in str(caught.value)
            assert register_url(local, url, file_name="film.mp4", settings=self.SETTINGS).origin.endswith("/download?…")

    @pytest.mark.parametrize(("body", "error"), [(b"", EmptyFileError), (b"no video", NotAVideoError)])
    def test_what_is_no_video(self, local: LocalStore, tmp_path: Path, body: bytes, error) -> None:
        with running_web_server() as web:
            web.pages["/film.mp4"] = Page(body)
            with pytest.raises(error, match=r"film\.mp4"):
                register_url(local, f"http://127.0.0.1:{web.port}/film.mp4", settings=self.SETTINGS)
        assert keys(local) == []
        assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_nothing_hands_out_a_video(store: Store, films: Path) -> None:
    video = register_file(store, films / "film.mp4")
    for name in ("source", "video.json"):
        with pytest.raises((PermanentError, KeyNotFoundError)):
            store.presign_result(f"videos/{video.video_id}/{name}", expires_s=60)
    assert "http" not in Video.model_validate(video).model_dump_json()
