"""Large uploads against a real S3 server: parts by presigned PUT, put together, checked, copied under a condition."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import httpx
import pytest
from pydantic import ValidationError

from tasks.expiry import clean_up
from tasks.settings import S3Settings, UploadSettings
from tasks.store import LocalStore, ObjectChangedError, S3Store, UploadLinkError
from tasks.store_interface import MissingPartsError
from tasks.upload_steps import UploadOffer, offer_commands, offer_upload
from tasks.videos import UnknownUploadError, list_videos, register_upload
from tests.s3_server import running_s3_server
from tests.video_files import make_video

MIB = 2**20
IN_PARTS = UploadSettings(parts_above_bytes=MIB, part_bytes=5 * MIB)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELMILL_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of 12 MiB, which is three parts: mp4 readers skip a `free` box, here one of noise."""
    path = make_video(tmp_path_factory.mktemp("films") / "film.mp4", frames=10)
    noise = os.urandom(12 * MIB - path.stat().st_size - 8)
    with path.open("ab") as file:
        file.write((len(noise) + 8).to_bytes(4, "big") + b"free" + noise)
    return path


def offered(store: S3Store, film: Path) -> UploadOffer:
    return offer_upload(store, film.name, film.stat().st_size, IN_PARTS)


def put(offer: UploadOffer, film: Path, numbers: list[int] | None = None) -> None:
    data = film.read_bytes()
    for part in offer.parts:
        if numbers is None or part.number in numbers:
            body = data[part.start_byte : part.start_byte + part.size_bytes]
            httpx.put(part.url, content=body).raise_for_status()


def test_parts_cover_the_file_and_sign_their_sizes(s3_store: S3Store, film: Path) -> None:
    offer = offered(s3_store, film)
    assert offer.url is None
    assert [(part.number, part.start_byte, part.size_bytes) for part in offer.parts] == [
        (1, 0, 5 * MIB),
        (2, 5 * MIB, 5 * MIB),
        (3, 10 * MIB, 2 * MIB),
    ]
    assert all("X-Amz-SignedHeaders=content-length%3Bhost" in part.url for part in offer.parts)
    assert offer_upload(s3_store, film.name, MIB, IN_PARTS).parts == ()


def test_a_film_in_parts_becomes_a_video(s3_store: S3Store, s3_client, film: Path) -> None:
    offer = offered(s3_store, film)
    put(offer, film, [3, 1, 2])
    video = register_upload(s3_store, offer.upload_id, settings=IN_PARTS)
    assert s3_store.read(f"videos/{video.video_id}/source") == film.read_bytes()
    assert video.size_bytes == 12 * MIB
    assert [info.key for info in s3_store.list("incoming/")] == [f"incoming/{offer.upload_id}.json"]
    assert s3_client.list_multipart_uploads(Bucket=s3_store.bucket).get("Uploads", []) == []


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
def test_the_offered_commands_send_the_parts(s3_store: S3Store, film: Path) -> None:
    offer = offered(s3_store, film)
    subprocess.run(
        ["bash", "-ec", offer_commands(offer, film.name)], cwd=film.parent, check=True, capture_output=True, timeout=60
    )
    video = register_upload(s3_store, offer.upload_id, settings=IN_PARTS)
    assert s3_store.read(f"videos/{video.video_id}/source") == film.read_bytes()


def test_missing_and_short_parts_are_named_and_may_follow(s3_store: S3Store, film: Path) -> None:
    offer = offered(s3_store, film)
    put(offer, film, [2])
    httpx.put(offer.parts[2].url, content=b"short").raise_for_status()  # this server lets any length pass, S3 doesn't
    with pytest.raises(MissingPartsError, match=r"2 of 3 parts .* \(1, 3\)"):
        register_upload(s3_store, offer.upload_id, settings=IN_PARTS)
    assert list(list_videos(s3_store)) == []
    put(offer, film, [1, 3])
    register_upload(s3_store, offer.upload_id, settings=IN_PARTS)


def test_registering_again_gives_the_same_video(s3_store: S3Store, film: Path) -> None:
    offer = offered(s3_store, film)
    put(offer, film)
    first = register_upload(s3_store, offer.upload_id, settings=IN_PARTS)
    assert register_upload(s3_store, offer.upload_id, settings=IN_PARTS) == first
    with pytest.raises(UnknownUploadError):
        register_upload(s3_store, "0" * 32, settings=IN_PARTS)


def test_a_registration_that_died_after_the_parts_were_joined_goes_on(s3_store: S3Store, film: Path) -> None:
    offer = offered(s3_store, film)
    put(offer, film)
    promised = json.loads(s3_store.read(f"incoming/{offer.upload_id}/parts.json"))
    sizes = {"size_bytes": promised["size_bytes"], "part_bytes": promised["part_bytes"]}
    s3_store.finish_parts(promised["key"], promised["parts_id"], **sizes)
    assert register_upload(s3_store, offer.upload_id, settings=IN_PARTS).size_bytes == 12 * MIB


def test_parts_that_were_removed_by_age_are_unknown(s3_store: S3Store, s3_client, film: Path) -> None:
    offer = offered(s3_store, film)
    (upload,) = s3_client.list_multipart_uploads(Bucket=s3_store.bucket)["Uploads"]
    s3_client.abort_multipart_upload(Bucket=s3_store.bucket, Key=upload["Key"], UploadId=upload["UploadId"])
    with pytest.raises(UnknownUploadError):
        register_upload(s3_store, offer.upload_id, settings=IN_PARTS)


def test_parts_that_nobody_registers_go_after_a_day(s3_store: S3Store, s3_client, film: Path) -> None:
    offer = offered(s3_store, film)
    put(offer, film, [1])
    later = datetime.now(UTC) + timedelta(days=1.1)
    report = clean_up(s3_store, is_tagged=lambda video_id: False, now=later)
    assert (report.uploads, report.unfinished_writes) == ([offer.upload_id], 1)
    assert s3_client.list_multipart_uploads(Bucket=s3_store.bucket).get("Uploads", []) == []
    assert list(s3_store.list("")) == []


def test_what_became_of_an_upload_is_known_for_a_day(s3_store: S3Store, film: Path) -> None:
    offer = offered(s3_store, film)
    put(offer, film)
    register_upload(s3_store, offer.upload_id, settings=IN_PARTS)
    later = datetime.now(UTC) + timedelta(days=1.1)
    assert clean_up(s3_store, is_tagged=lambda video_id: False, now=later).records == 1
    with pytest.raises(UnknownUploadError):
        register_upload(s3_store, offer.upload_id, settings=IN_PARTS)
    assert len(list(list_videos(s3_store))) == 1


def test_a_large_copy_carries_the_condition_in_every_part(s3_environment: str, tmp_path: Path) -> None:
    """The test server does not look at the condition of a part; S3 does, so we look whether it is asked."""
    (tmp_path / "large").write_bytes(bytes(11 * MIB))
    with running_s3_server(MOTO_RECORDER_FILEPATH=str(tmp_path / "recording")) as server:
        client = boto3.client("s3", endpoint_url=server)
        client.create_bucket(Bucket="bucket")
        settings = S3Settings(endpoint_url=server, addressing_style="path", copy_whole_bytes=5 * MIB)
        store = S3Store("s3://bucket/prefix", settings)
        store.write_file("incoming/1/large", tmp_path / "large")
        etag = store.stat("incoming/1/large").etag
        httpx.post(f"{server}/moto-api/recorder/start-recording")
        store.copy("incoming/1/large", "videos/1/source", if_etag=etag)
        httpx.post(f"{server}/moto-api/recorder/stop-recording")
        assert store.read("videos/1/source") == bytes(11 * MIB)
        store.write("incoming/1/large", b"other")
        with pytest.raises(ObjectChangedError):
            store.copy("incoming/1/large", "videos/1/source", if_etag=etag)
    lines = (tmp_path / "recording").read_text().splitlines()
    sent = [{name.lower(): value for name, value in json.loads(line)["headers"].items()} for line in lines]
    copies = [headers for headers in sent if "x-amz-copy-source" in headers]
    assert len(copies) == 3
    assert {headers.get("x-amz-copy-source-if-match") for headers in copies} == {etag}


def test_a_directory_takes_no_parts(tmp_path: Path) -> None:
    with pytest.raises(UploadLinkError):
        offer_upload(LocalStore(tmp_path), "film.mp4", 2 * MIB, IN_PARTS)


def test_no_file_has_more_parts_than_s3_takes(s3_store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.incoming.MOST_PARTS", 2)
    offer = offer_upload(s3_store, "film.mp4", 12 * MIB + 1, IN_PARTS)
    assert [part.size_bytes for part in offer.parts] == [6 * MIB + 1, 6 * MIB]


def test_links_do_not_outlive_the_upload() -> None:
    with pytest.raises(ValidationError, match="INCOMING_DAYS"):
        UploadSettings(parts_expire_s=2 * 86400)
