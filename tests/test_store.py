"""One contract for both homes of the store, and how they are opened."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tasks.settings import S3Settings
from tasks.store import (
    BadKeyError,
    KeyNotFoundError,
    NotAResultError,
    ObjectChangedError,
    S3Store,
    Store,
    StoreConfigError,
    open_store,
)


def keys(store: Store, prefix: str) -> list[str]:
    return [info.key for info in store.list(prefix)]


class TestContract:
    def test_reads_back_what_was_written(self, store: Store) -> None:
        store.write("jobs/1/spec.json", b"first")
        store.write("jobs/1/spec.json", b"second")
        assert store.read("jobs/1/spec.json") == b"second"

    def test_of_many_that_swap_one_gets_through(self, store: Store) -> None:
        def swap(number: int, etag: str | None) -> bool:
            try:
                store.swap("requests/1.json", str(number).encode(), if_etag=etag)
            except ObjectChangedError:
                return False
            return True

        etag = None
        for start in (0, 8, 16):
            # The S3 server of these tests looks and writes in two steps, so that its callers must take turns.
            with ThreadPoolExecutor(1 if isinstance(store, S3Store) else 8) as pool:
                won = list(pool.map(swap, range(start, start + 8), [etag] * 8))
            assert won.count(True) == 1
            assert store.read("requests/1.json") == str(start + won.index(True)).encode()
            assert not swap(99, None)
            etag = store.stat("requests/1.json").etag
        store.delete(["requests/1.json"])
        assert not swap(99, etag)
        assert list(store.list("")) == []

    def test_empty_objects_and_names_of_all_kinds(self, store: Store, tmp_path: Path) -> None:
        for key in ("a", "models/köln ü/.gitattributes", "results/a+b c%2F=&?#x/" + "n" * 200):
            store.write(key, b"")
            assert store.read(key) == b""
            assert store.stat(key).size_bytes == 0
            store.fetch(key, tmp_path / "fetched")
            assert (tmp_path / "fetched").read_bytes() == b""
            assert [info.key for info in store.list("") if info.key == key] == [key]

    def test_a_missing_key(self, store: Store, tmp_path: Path) -> None:
        assert store.stat("jobs/1/none") is None
        for ask in (
            lambda: store.read("jobs/1/none"),
            lambda: store.fetch("jobs/1/none", tmp_path / "file"),
            lambda: store.copy("jobs/1/none", "jobs/1/other", if_etag='"x"'),
            lambda: store.presign_result("results/none", expires_s=60),
        ):
            with pytest.raises(KeyNotFoundError, match="none"):
                ask()
        assert not (tmp_path / "file").exists()

    def test_a_folder_is_no_object(self, store: Store) -> None:
        store.write("jobs/1/spec.json", b"x")
        assert store.stat("jobs/1") is None
        with pytest.raises(KeyNotFoundError):
            store.read("jobs/1")

    @pytest.mark.parametrize(
        "key",
        [
            *(
                "",
                "/",
                "/etc/passwd",
                "a/",
                "a//b",
                "..",
                "../x",
                "a/../../x",
                "a/./b",
                "a\\b",
                "a\nb",
                "a\0b",
                "\ud800",
            ),
            *("x" * 256, "/".join(["x" * 100] * 11), "a/.partial-0011"),
        ],
    )
    def test_refuses_keys_that_could_leave_the_store(self, store: Store, tmp_path: Path, key: str) -> None:
        (tmp_path / "x").write_bytes(b"outside")
        for ask in (
            lambda: store.read(key),
            lambda: store.write(key, b""),
            lambda: store.write_file(key, tmp_path / "x"),
            lambda: store.fetch(key, tmp_path / "y"),
            lambda: store.local_path(key),
            lambda: store.stat(key),
            lambda: store.delete([key]),
            lambda: store.copy("a", key, if_etag=""),
            lambda: store.copy(key, "a", if_etag=""),
            lambda: store.presign_result(key, expires_s=60),
            lambda: store.presign_result(f"results/{key}", expires_s=60) if key != "a/" else store.read(key),
        ):
            with pytest.raises((BadKeyError, NotAResultError, KeyNotFoundError)):
                ask()
        assert (tmp_path / "x").read_bytes() == b"outside"

    def test_stat_says_size_time_and_an_etag_that_follows_the_content(self, store: Store) -> None:
        store.write("a", b"12345")
        first = store.stat("a")
        assert (first.key, first.size_bytes) == ("a", 5)
        assert abs(first.modified_at - datetime.now(UTC)) < timedelta(minutes=1)
        store.write("a", b"54321")
        assert store.stat("a").etag != first.etag

    def test_lists_what_begins_with_a_prefix_sorted_by_whole_keys(self, store: Store) -> None:
        written = ["jobs/1/b", "jobs/1/a/z", "jobs/1/a.json", "jobs/1/a-b", "jobs/10/x", "jobs/1/ä", "jobs2"]
        for key in written:
            store.write(key, b"x")
        expected = sorted((key for key in written if key.startswith("jobs/1/")), key=str.encode)
        assert keys(store, "jobs/1/") == expected
        assert keys(store, "jobs/1") == sorted([*expected, "jobs/10/x"], key=str.encode)
        assert keys(store, "jobs/1/a") == ["jobs/1/a-b", "jobs/1/a.json", "jobs/1/a/z"]
        assert keys(store, "jo") == keys(store, "") == sorted(written, key=str.encode)
        assert keys(store, "jobs/1/b/") == keys(store, "nothing/here") == []
        with pytest.raises(BadKeyError):
            keys(store, "../jobs")

    def test_listing_an_empty_store(self, store: Store) -> None:
        assert keys(store, "") == []

    def test_deletes_what_is_named_and_nothing_else(self, store: Store) -> None:
        for key in ("a/1", "a/2", "ab/1", "a0"):
            store.write(key, b"x")
        store.delete(["a/1", "a/none"])
        assert keys(store, "") == ["a/2", "a0", "ab/1"]
        assert store.delete_prefix("a") == 1
        assert store.delete_prefix("a") == 0
        assert keys(store, "") == ["a0", "ab/1"]
        with pytest.raises(BadKeyError):
            store.delete_prefix("")

    def test_deletes_more_than_one_request_takes(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tasks.store._DELETE_AT_ONCE", 3)
        for number in range(10):
            store.write(f"many/{number:04}", b"")
        assert store.delete_prefix("many") == 10
        assert keys(store, "") == []

    def test_a_copy_is_made_of_what_was_looked_at(self, store: Store, tmp_path: Path) -> None:
        store.write("incoming/1/a", b"looked at")
        etag = store.stat("incoming/1/a").etag
        store.copy("incoming/1/a", "videos/1/source", if_etag=etag)
        store.fetch("incoming/1/a", tmp_path / "file", if_etag=etag)
        assert store.read("videos/1/source") == (tmp_path / "file").read_bytes() == b"looked at"

    def test_a_source_that_was_swapped_is_not_copied(self, store: Store, tmp_path: Path) -> None:
        store.write("incoming/1/a", b"looked at")
        etag = store.stat("incoming/1/a").etag
        store.write("incoming/1/a", b"swapped !")
        with pytest.raises(ObjectChangedError):
            store.copy("incoming/1/a", "videos/1/source", if_etag=etag)
        with pytest.raises(ObjectChangedError):
            store.fetch("incoming/1/a", tmp_path / "file", if_etag=etag)
        assert store.stat("videos/1/source") is None
        assert list(tmp_path.glob("*file*")) == []

    def test_files_of_several_parts_go_in_and_out_unchanged(self, store: Store, tmp_path: Path) -> None:
        if isinstance(store, S3Store):
            store = S3Store(store.uri, S3Settings(part_bytes=5 * 2**20))
        sent = os.urandom(12 * 2**20 + 7)
        (tmp_path / "sent").write_bytes(sent)
        store.write_file("videos/1/source", tmp_path / "sent")
        store.fetch("videos/1/source", tmp_path / "new" / "folder" / "got")
        assert (tmp_path / "new" / "folder" / "got").read_bytes() == sent
        assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["got"]
        store.copy("videos/1/source", "videos/2/source", if_etag=store.stat("videos/1/source").etag)
        assert store.read("videos/2/source") == sent

    def test_a_stored_file_does_not_change_with_its_original(self, store: Store, tmp_path: Path) -> None:
        original = tmp_path / "original"
        original.write_bytes(b"as sent")
        store.write_file("videos/1/source", original)
        with original.open("r+b") as file:
            file.write(b"changed")
        assert store.read("videos/1/source") == b"as sent"

    def test_readers_never_see_a_part(self, store: Store) -> None:
        contents = [bytes([letter]) * 300_000 for letter in b"ab"]
        store.write("a", contents[0])
        seen, done = [], threading.Event()

        def read_on() -> None:
            while not done.is_set():
                seen.append(store.read("a"))

        reader = threading.Thread(target=read_on)
        reader.start()
        for turn in range(40):
            store.write("a", contents[turn % 2])
        done.set()
        reader.join()
        assert len(seen) > 1
        assert set(seen) <= set(contents)

    @pytest.mark.parametrize("key", ["videos/1/source", "resultsx/a", "incoming/1/a.mp4", "videos/results/a"])
    def test_gives_no_link_that_reads_a_video(self, store: Store, key: str) -> None:
        store.write(key, b"private")
        with pytest.raises(NotAResultError, match="results/"):
            store.presign_result(key, expires_s=60)

    def test_the_address_opens_the_same_store(self, store: Store) -> None:
        store.write("a", b"x")
        assert open_store(store.uri).read("a") == b"x"


class TestOpening:
    @pytest.mark.parametrize("uri", ["", "s3://", "s3://a", "s3:///x", "s3://bucket/../x", "gs://bucket", "http://x/y"])
    def test_refuses_what_is_no_store(self, uri: str) -> None:
        with pytest.raises(StoreConfigError):
            open_store(uri)

    def test_home_is_expanded_and_the_environment_asked(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("REELMILL_STORE", "~/films")
        assert open_store().uri == str(tmp_path / "films")
        monkeypatch.setenv("REELMILL_STORE", "s3://bucket/films/")
        assert open_store().uri == "s3://bucket/films"

    def test_boto3_is_imported_only_for_s3(self) -> None:
        script = (
            "import sys, tempfile; from tasks.store import open_store; store = open_store(tempfile.mkdtemp())\n"
            "store.write('a', b''); open_store('s3://bucket'); print('boto3' in sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
        assert done.stdout.strip() == "False", done.stderr
