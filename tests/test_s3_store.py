"""What only S3 can do wrong; the contract that it shares is in test_store.py."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from models.errors import PassingError, PermanentError
from tasks.settings import S3Settings
from tasks.store import (
    BucketMissingError,
    S3Store,
    StoreAccessError,
    StoreConfigError,
    StoreUnreachableError,
)
from tests.s3_server import running_s3_server


def test_a_presigned_put_takes_exactly_one_file_of_its_size(s3_store: S3Store) -> None:
    put = s3_store.presign_put("incoming/1/a.mp4", size_bytes=5, expires_s=60)
    assert "X-Amz-SignedHeaders=content-length%3Bhost" in put.url
    assert httpx.request(put.method, put.url, content=b"12345", headers=put.headers).status_code == 200
    assert s3_store.read("incoming/1/a.mp4") == b"12345"


def test_a_result_is_read_by_its_link(s3_store: S3Store) -> None:
    s3_store.write("results/1/predictions.json", b"{}")
    url = s3_store.presign_result("results/1/predictions.json", expires_s=60)
    assert "X-Amz-Expires=60" in url
    assert httpx.get(url).content == b"{}"


def test_everything_lies_under_the_prefix(s3_store: S3Store, s3_client) -> None:
    s3_store.write("a/b", b"x")
    listed = s3_client.list_objects_v2(Bucket=s3_store.bucket)["Contents"]
    assert [item["Key"] for item in listed] == ["some/prefix/a/b"]
    whole_bucket = S3Store(f"s3://{s3_store.bucket}")
    assert whole_bucket.read("some/prefix/a/b") == b"x"
    assert s3_store.local_path("a/b") is None


def test_large_files_travel_in_parts(s3_store: S3Store, s3_client, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(11 * 2**20))
    S3Store(s3_store.uri, S3Settings(part_bytes=5 * 2**20)).write_file("large", tmp_path / "large")
    assert s3_store.stat("large").etag.endswith('-3"')


def test_virtual_host_addresses(s3_store: S3Store, s3_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    real, port = socket.getaddrinfo, s3_server.rsplit(":", 1)[1]
    asked = []

    def resolve(host, *rest, **options):
        asked.append(host)
        return real("127.0.0.1" if str(host).endswith(".s3.test") else host, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    settings = S3Settings(endpoint_url=f"http://s3.test:{port}", addressing_style="virtual")
    store = S3Store(s3_store.uri, settings)
    store.write("results/a", b"x")
    assert s3_store.read("results/a") == store.read("results/a") == b"x"
    assert f"{store.bucket}.s3.test" in asked
    assert store.presign_result("results/a", expires_s=9).startswith(f"http://{store.bucket}.s3.test:{port}/some/")


def test_deleting_for_good_takes_all_versions(s3_store: S3Store, s3_client) -> None:
    s3_client.put_bucket_versioning(Bucket=s3_store.bucket, VersioningConfiguration={"Status": "Enabled"})
    for key in ("videos/1/source", "videos/1/source", "videos/1/video.json", "videos/10/source"):
        s3_store.write(key, b"x")
    s3_store.delete(["videos/1/video.json"])
    assert s3_store.delete_prefix("videos/1") == 1
    answer = s3_client.list_object_versions(Bucket=s3_store.bucket)
    left = [item["Key"] for item in [*answer.get("Versions", []), *answer.get("DeleteMarkers", [])]]
    assert left == ["some/prefix/videos/10/source"]


def test_unfinished_multipart_uploads_go_by_age(s3_store: S3Store, s3_client) -> None:
    s3_client.create_multipart_upload(Bucket=s3_store.bucket, Key="some/prefix/videos/1/source")
    s3_client.create_multipart_upload(Bucket=s3_store.bucket, Key="else/where")
    assert s3_store.remove_unfinished(datetime.now(UTC) - timedelta(days=10_000)) == 0
    assert s3_store.remove_unfinished(datetime.now(UTC) + timedelta(days=10_000), dry_run=True) == 1
    assert s3_store.remove_unfinished(datetime.now(UTC) + timedelta(days=10_000)) == 1
    left = s3_client.list_multipart_uploads(Bucket=s3_store.bucket)["Uploads"]
    assert [upload["Key"] for upload in left] == ["else/where"]


def test_a_missing_bucket(s3_environment: str, tmp_path: Path) -> None:
    store = S3Store("s3://no-such-bucket/x")
    (tmp_path / "file").write_bytes(b"x")
    for ask in (
        lambda: store.read("a"),
        lambda: store.write("a", b""),
        lambda: store.write_file("a", tmp_path / "file"),
        lambda: store.fetch("a", tmp_path / "got"),
        lambda: store.stat("a"),
        lambda: list(store.list("a")),
        lambda: store.delete(["a"]),
        lambda: store.delete_prefix("a"),
    ):
        with pytest.raises(BucketMissingError, match="no-such-bucket") as caught:
            ask()
        assert isinstance(caught.value, PermanentError)


def test_wrong_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAWRONG")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret-indeed")
    with running_s3_server(INITIAL_NO_AUTH_ACTION_COUNT="0") as url:
        store = S3Store("s3://bucket", S3Settings(endpoint_url=url, addressing_style="path"))
        for ask in (lambda: store.write("a", b""), lambda: store.stat("a"), lambda: list(store.list(""))):
            with pytest.raises(StoreAccessError, match="AWS_ACCESS_KEY_ID") as caught:
                ask()
            assert "very-secret" not in str(caught.value)


def test_no_credentials_at_all(s3_environment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    store = S3Store("s3://bucket")
    for ask in (
        lambda: store.write("a", b""),
        lambda: store.presign_put("incoming/a", size_bytes=1, expires_s=9),
    ):
        with pytest.raises(StoreAccessError, match="no credentials"):
            ask()


def test_a_server_that_is_down_is_tried_again_then_said(s3_environment: str) -> None:
    store = S3Store("s3://bucket", S3Settings(endpoint_url="http://127.0.0.1:9", max_attempts=2))
    with pytest.raises(StoreUnreachableError, match="after 2 tries") as caught:
        store.write("a", b"")
    assert isinstance(caught.value, PassingError)
    assert "http://127.0.0.1:9" in str(caught.value)


def test_an_endpoint_that_is_no_url(s3_environment: str) -> None:
    with pytest.raises(StoreConfigError, match="REELMILL_S3_"):
        S3Store("s3://bucket", S3Settings(endpoint_url="not a url")).write("a", b"")
