"""Where a backfill's videos come from: folders that a worker offers, S3 prefixes, and lists there and in the store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tasks.backfill_sources import Places, SourceError, list_items, register_item
from tasks.store import S3Store
from tasks.upload_steps import LocalPathError
from tests.video_files import make_video


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("clip") / "clip.mp4")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELMILL_CACHE_DIR", str(tmp_path / "cache"))


def test_a_prefix_of_a_bucket(s3_store: S3Store, s3_client: Any, clip: Path) -> None:
    source = f"s3://{s3_store.bucket}/recordings"
    for name in ("b/2.mp4", "a.MP4", "notes.txt", "b/.hidden.mp4"):
        s3_client.upload_file(str(clip), s3_store.bucket, f"recordings/{name}")
    items = list_items(s3_store, source + "/", Places())
    assert [item.source for item in items] == [f"{source}/a.MP4", f"{source}/b/2.mp4"]
    video = register_item(s3_store, items[1], Places())
    assert (video.file_name, video.size_bytes) == ("2.mp4", clip.stat().st_size)
    assert list_items(s3_store, f"s3://{s3_store.bucket}/nothing", Places()) == []


def test_lists_in_a_bucket_and_in_the_store(s3_store: S3Store, s3_client: Any, clip: Path) -> None:
    s3_client.upload_file(str(clip), s3_store.bucket, "in/1.mp4")
    rows = [{"source": "1.mp4"}, {"source": f"s3://{s3_store.bucket}/in/2.mp4"}, {"source": "0" * 32}]
    data = "\n".join(map(json.dumps, rows)).encode()
    s3_client.put_object(Bucket=s3_store.bucket, Key="in/list.jsonl", Body=data)
    first, second, third = list_items(s3_store, f"s3://{s3_store.bucket}/in/list.jsonl", Places())
    assert first.source == f"s3://{s3_store.bucket}/in/1.mp4"
    assert third.source == "0" * 32
    assert register_item(s3_store, first, Places()).file_name == "1.mp4"
    with pytest.raises(Exception, match="nothing at"):
        register_item(s3_store, second, Places())
    s3_store.write("lists/june.jsonl", data)
    assert len(list_items(s3_store, "store:lists/june.jsonl", Places())) == 3
    for missing in ("store:lists/july.jsonl", f"s3://{s3_store.bucket}/in/other.csv"):
        with pytest.raises(SourceError, match="no list"):
            list_items(s3_store, missing, Places())


def test_a_worker_gives_only_what_lies_in_the_folder_it_offers(
    tmp_path: Path, clip: Path, s3_store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered = tmp_path / "offered"
    offered.mkdir()
    (offered / "clip.mp4").write_bytes(clip.read_bytes())
    (offered / "away.mp4").symlink_to(clip)
    with pytest.raises(LocalPathError):
        list_items(s3_store, str(offered), Places())
    monkeypatch.setenv("REELMILL_UPLOAD_LOCAL_DIR", str(offered))
    away, inside = list_items(s3_store, str(offered), Places())
    assert register_item(s3_store, inside, Places()).file_name == "clip.mp4"
    with pytest.raises(LocalPathError):
        register_item(s3_store, away, Places())
    for outside in (str(tmp_path), str(clip.parent), "../"):
        with pytest.raises(LocalPathError):
            list_items(s3_store, outside, Places())
    (offered / "list.csv").write_text(f"path\nclip.mp4\n{clip}\n")
    first, second = list_items(s3_store, "list.csv", Places())
    assert register_item(s3_store, first, Places()).file_name == "clip.mp4"
    with pytest.raises(LocalPathError):
        register_item(s3_store, second, Places())


@pytest.mark.parametrize("source", ["https://host/list.csv", "clip.mp4", "missing.csv"])
def test_what_is_no_source_is_refused(source: str, tmp_path: Path, clip: Path, s3_store: S3Store) -> None:
    path = str(clip) if source == "clip.mp4" else source
    with pytest.raises(SourceError):
        list_items(s3_store, path, Places(any_path=True))
