"""Opens the store: a local directory, or S3 through boto3, which nothing else imports.

It knows nothing of what the keys mean. boto3 is imported when an S3 store is opened, not before.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.local_store import LocalStore, written_whole
from tasks.s3_parts import complete_parts, offer_parts
from tasks.s3_versions import deletion_marks, old_versions, with_all_versions
from tasks.settings import S3Settings, StoreSettings
from tasks.store_interface import (
    BadKeyError,
    BucketMissingError,
    DiskFullError,
    KeyNotFoundError,
    NotAResultError,
    ObjectChangedError,
    ObjectInfo,
    PresignedParts,
    PresignedPut,
    Store,
    StoreAccessError,
    StoreConfigError,
    StoreRefusedError,
    StoreUnreachableError,
    UploadLinkError,
    checked_folder,
    checked_key,
    checked_prefix,
    checked_result_key,
)

if TYPE_CHECKING:
    from botocore.exceptions import ClientError
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ObjectIdentifierTypeDef

__all__ = [
    "BadKeyError",
    "BucketMissingError",
    "DiskFullError",
    "KeyNotFoundError",
    "LocalStore",
    "NotAResultError",
    "ObjectChangedError",
    "ObjectInfo",
    "PresignedPut",
    "S3Store",
    "Store",
    "StoreAccessError",
    "StoreConfigError",
    "StoreRefusedError",
    "StoreUnreachableError",
    "UploadLinkError",
    "open_store",
]

_S3_SCHEME = "s3://"
_BUCKET_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{1,62}$")
_DELETE_AT_ONCE = 1000  # DeleteObjects takes no more
_NOT_THERE = {"404", "NoSuchKey", "NoSuchUpload", "NotFound", "NoSuchVersion"}
_CHANGED = {"409", "412", "ConditionalRequestConflict", "PreconditionFailed"}
_DENIED = {
    "401",
    "403",
    "AccessDenied",
    "AllAccessDisabled",
    "AuthorizationHeaderMalformed",
    "ExpiredToken",
    "Forbidden",
    "InvalidAccessKeyId",
    "InvalidToken",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
}
_BUSY = {"RequestTimeout", "RequestTimeoutException", "SlowDown", "Throttling", "ThrottlingException"}
_NO_VERSIONS = {"NotImplemented", "MethodNotAllowed", "405", "501"}


def open_store(uri: str | None = None) -> Store:
    """Open the store at `uri` (`s3://bucket/prefix` or a directory), by default the one of `StoreSettings`.

    Nothing is read or made yet. Raises `StoreConfigError` for an address that is neither.
    """
    address = StoreSettings().store if uri is None else uri
    if address.startswith(_S3_SCHEME):
        return S3Store(address)
    if not address or re.match(r"^[a-z][a-z0-9+.-]*://", address, re.IGNORECASE):
        raise StoreConfigError(f"{address!r} is no store; give a directory or s3://bucket/prefix.")
    return LocalStore(Path(address))


class S3Store:
    """A store in a bucket of any S3-compatible server, under an optional prefix."""

    def __init__(self, uri: str, settings: S3Settings | None = None) -> None:
        """Remember where; nothing is asked of the server. Raises `StoreConfigError` for an address that is none."""
        self.settings = settings or S3Settings()
        self.bucket, _, prefix = uri.removeprefix(_S3_SCHEME).partition("/")
        if not uri.startswith(_S3_SCHEME) or not _BUCKET_NAME.match(self.bucket):
            raise StoreConfigError(f"{uri!r} is no S3 address; give s3://bucket or s3://bucket/prefix.")
        try:
            self._prefix = checked_folder(prefix) if prefix.strip("/") else ""
        except BadKeyError as error:
            raise StoreConfigError(f"The prefix of {uri!r} cannot be used: {error}") from None
        self._bucket_seen = False
        self.uri = f"{_S3_SCHEME}{self.bucket}/{self._prefix}".removesuffix("/")

    def read(self, key: str) -> bytes:
        """See `Store.read`."""
        with self._told_as_store_errors(key):
            answer = self._client.get_object(Bucket=self.bucket, Key=self._full(key))
            return answer["Body"].read()

    def write(self, key: str, data: bytes) -> None:
        """See `Store.write`: one PUT."""
        with self._told_as_store_errors(key):
            self._client.put_object(Bucket=self.bucket, Key=self._full(key), Body=data)

    def swap(self, key: str, data: bytes, *, if_etag: str | None) -> None:
        """See `Store.swap`: a PUT under a condition, which the server must know (AWS, MinIO, Ceph and R2 do)."""
        full = self._full(key)
        with self._told_as_store_errors(key):
            try:
                if if_etag is None:
                    self._client.put_object(Bucket=self.bucket, Key=full, Body=data, IfNoneMatch="*")
                else:
                    self._client.put_object(Bucket=self.bucket, Key=full, Body=data, IfMatch=if_etag)
            except self._client.exceptions.ClientError as error:
                if if_etag is None or _code(error) not in _NOT_THERE:
                    raise
                raise self._changed(key) from error

    def write_file(self, key: str, path: Path) -> None:
        """See `Store.write_file`: one PUT, or a multipart upload that is aborted when it fails."""
        with self._told_as_store_errors(key), path.open("rb") as source:
            self._client.upload_fileobj(source, self.bucket, self._full(key), Config=self._transfer_config)

    def fetch(self, key: str, path: Path, *, if_etag: str | None = None) -> None:
        """See `Store.fetch`: several ranges at a time, all of one etag."""
        from s3transfer.manager import TransferManager
        from s3transfer.subscribers import BaseSubscriber

        info = self.stat(key)
        if info is None:
            raise self._missing(key)
        if if_etag not in (None, info.etag):
            raise self._changed(key)

        size_bytes, etag = info.size_bytes, info.etag

        class OfThisEtag(BaseSubscriber):
            def on_queued(self, future: Any, **_: Any) -> None:
                future.meta.provide_transfer_size(size_bytes)
                future.meta.provide_object_etag(etag)

        with (
            written_whole(path) as target,
            self._told_as_store_errors(key),
            TransferManager(self._client, self._transfer_config) as manager,
        ):
            manager.download(self.bucket, self._full(key), target, subscribers=[OfThisEtag()]).result()

    def local_path(self, key: str) -> Path | None:
        """See `Store.local_path`: never a file."""
        checked_key(key)
        return None

    def stat(self, key: str) -> ObjectInfo | None:
        """See `Store.stat`."""
        try:
            with self._told_as_store_errors(key):
                answer = self._client.head_object(Bucket=self.bucket, Key=self._full(key))
        except KeyNotFoundError:
            # A HEAD has no body, so a missing bucket looks like a missing key.
            self._require_bucket()
            return None
        return ObjectInfo(key, answer["ContentLength"], answer["LastModified"], answer["ETag"])

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """See `Store.list`. S3 lists in the order of the keys' UTF-8 bytes."""
        folder = self._prefix + checked_prefix(prefix)
        with self._told_as_store_errors(prefix):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=folder):
                for item in page.get("Contents", []):
                    key = item["Key"].removeprefix(self._prefix)
                    if not key.endswith("/"):  # consoles make such empty objects to show a folder
                        yield ObjectInfo(key, item["Size"], item["LastModified"], item["ETag"])

    def delete(self, keys: Iterable[str]) -> int:
        """See `Store.delete`."""
        wanted = sorted({self._full(key) for key in keys})
        self._delete({"Key": key} for key in wanted)
        return len(wanted)

    def delete_prefix(self, prefix: str) -> int:
        """See `Store.delete_prefix`. Raises `StoreAccessError` where versions may not be looked at."""
        folder = checked_folder(prefix)
        present = [self._full(info.key) for info in self.list(folder)]
        self._delete(self._versions(self._prefix + folder) if self._keeps_versions else ({"Key": k} for k in present))
        return len(present)

    def copy(self, source: str, target: str, *, if_etag: str) -> None:
        """See `Store.copy`: the server copies, a large object in parts, each under the condition."""
        with self._told_as_store_errors(source):
            self._client.copy(
                {"Bucket": self.bucket, "Key": self._full(source)},
                self.bucket,
                self._full(target),
                ExtraArgs={"CopySourceIfMatch": if_etag},
                Config=self._copy_config,
            )

    def remove_unfinished(self, before: datetime, *, dry_run: bool = False) -> int:
        """See `Store.remove_unfinished`: aborts multipart uploads, whose parts cost money and show in no listing."""
        with self._told_as_store_errors(self._prefix):
            lister = self._client.get_paginator("list_multipart_uploads")
            pages = lister.paginate(Bucket=self.bucket, Prefix=self._prefix)
            old = [item for page in pages for item in page.get("Uploads", []) if item["Initiated"] < before]
        for item in [] if dry_run else old:
            with suppress(KeyNotFoundError), self._told_as_store_errors(item["Key"]):  # ended since it was listed
                self._client.abort_multipart_upload(Bucket=self.bucket, Key=item["Key"], UploadId=item["UploadId"])
        return len(old)

    def remove_old_versions(self, prefix: str, before: datetime, *, dry_run: bool = False) -> int:
        """See `Store.remove_old_versions`. Raises `StoreAccessError` where versions may not be looked at."""
        folder = self._prefix + checked_prefix(prefix)
        if not self._keeps_versions:
            return 0
        removed = 0
        # A deletion's mark that went before the versions it hides would bring the last of them back.
        for found in (old_versions, deletion_marks):
            with self._told_as_store_errors(prefix):
                objects = list(found(self._client, self.bucket, folder, before))
            removed += len(objects)
            self._delete([] if dry_run else objects)
        return removed

    def presign_put(self, key: str, *, size_bytes: int, expires_s: int) -> PresignedPut:
        """See `Store.presign_put`. The size is a signed header: S3 refuses a body of any other length."""
        with self._told_as_store_errors(key):
            url = self._client.generate_presigned_url(
                "put_object",
                Params={"Bucket": self.bucket, "Key": self._full(key), "ContentLength": size_bytes},
                ExpiresIn=expires_s,
                HttpMethod="PUT",
            )
        return PresignedPut(url=url, method="PUT", headers={"Content-Length": str(size_bytes)})

    def presign_parts(self, key: str, *, size_bytes: int, part_bytes: int, expires_s: int) -> PresignedParts:
        """See `Store.presign_parts`. Each part's size is a signed header, as a whole file's is."""
        with self._told_as_store_errors(key):
            return offer_parts(self._client, self.bucket, self._full(key), size_bytes, part_bytes, expires_s)

    def finish_parts(self, key: str, parts_id: str, *, size_bytes: int, part_bytes: int) -> None:
        """See `Store.finish_parts`: the server is asked which parts it has."""
        with self._told_as_store_errors(key):
            complete_parts(self._client, self.bucket, self._full(key), parts_id, size_bytes, part_bytes)

    def presign_result(self, key: str, *, expires_s: int) -> str:
        """See `Store.presign_result`."""
        if self.stat(checked_result_key(key)) is None:
            raise self._missing(key)
        with self._told_as_store_errors(key):
            return self._client.generate_presigned_url(
                "get_object", Params={"Bucket": self.bucket, "Key": self._full(key)}, ExpiresIn=expires_s
            )

    @cached_property
    def _client(self) -> S3Client:
        import boto3
        from botocore.config import Config

        session = boto3.session.Session()
        config = Config(
            signature_version="s3v4",
            s3={"addressing_style": self.settings.addressing_style},
            retries={"mode": "standard", "total_max_attempts": self.settings.max_attempts},
            connect_timeout=self.settings.timeout_s,
            read_timeout=self.settings.timeout_s,
            # The checksum trailers that boto3 sends by default are refused by many S3-compatible servers.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        try:
            return session.client(
                "s3",
                endpoint_url=self.settings.endpoint_url,
                region_name=session.region_name or "us-east-1",
                config=config,
            )
        except ValueError as error:  # an endpoint that is no URL
            raise self._misconfigured(error) from error

    @cached_property
    def _transfer_config(self) -> Any:
        from boto3.s3.transfer import TransferConfig

        return TransferConfig(
            multipart_threshold=self.settings.part_bytes,
            multipart_chunksize=self.settings.part_bytes,
            num_download_attempts=self.settings.max_attempts,
            preferred_transfer_client="classic",
        )

    @cached_property
    def _copy_config(self) -> Any:
        from boto3.s3.transfer import TransferConfig

        whole = self.settings.copy_whole_bytes
        part = min(whole, 2**30)
        return TransferConfig(multipart_threshold=whole, multipart_chunksize=part, preferred_transfer_client="classic")

    @cached_property
    def _keeps_versions(self) -> bool:
        from botocore.exceptions import ClientError

        with self._told_as_store_errors(self._prefix):
            try:
                return "Status" in self._client.get_bucket_versioning(Bucket=self.bucket)
            except ClientError as error:
                if _code(error) in _NO_VERSIONS:
                    return False
                raise

    def _versions(self, folder: str) -> Iterator[ObjectIdentifierTypeDef]:
        with self._told_as_store_errors(folder):
            yield from with_all_versions(self._client, self.bucket, folder)

    def _delete(self, objects: Iterable[ObjectIdentifierTypeDef]) -> None:
        remaining = iter(objects)
        while some := list(islice(remaining, _DELETE_AT_ONCE)):
            with self._told_as_store_errors(some[0]["Key"]):
                answer = self._client.delete_objects(Bucket=self.bucket, Delete={"Objects": some, "Quiet": True})
            for failed in answer.get("Errors", []):
                raise StoreRefusedError(
                    f"The store {self.uri} would not delete {failed.get('Key')!r} ({failed.get('Code')}); "
                    "give these credentials the right to delete."
                )

    def _full(self, key: str) -> str:
        return self._prefix + checked_key(key)

    def _require_bucket(self) -> None:
        if self._bucket_seen:
            return
        with self._told_as_store_errors(""):
            try:
                self._client.head_bucket(Bucket=self.bucket)
            except self._client.exceptions.ClientError as error:
                if _code(error) in _NOT_THERE:
                    raise self._no_bucket() from error
                raise
        self._bucket_seen = True

    @property
    def _server(self) -> str:
        return self.settings.endpoint_url or "Amazon S3"

    def _missing(self, key: str) -> KeyNotFoundError:
        return KeyNotFoundError(f"There is no {key!r} in the store {self.uri}.")

    def _changed(self, key: str) -> ObjectChangedError:
        return ObjectChangedError(f"{key!r} was replaced while it was being read; try again when nobody writes to it.")

    def _no_bucket(self) -> BucketMissingError:
        return BucketMissingError(
            f"There is no bucket {self.bucket!r} on {self._server}; create it, or correct REELMILL_STORE."
        )

    def _misconfigured(self, error: Exception) -> StoreConfigError:
        return StoreConfigError(
            f"{self.uri} cannot be used as it is configured ({type(error).__name__}); "
            "look at the REELMILL_S3_ and AWS_ variables."
        )

    @contextmanager
    def _told_as_store_errors(self, key: str) -> Iterator[None]:
        """Raise boto3's errors as the store's own; none of them repeats a URL, which could be a signed one."""
        from boto3.exceptions import Boto3Error
        from botocore import exceptions as botocore_errors
        from s3transfer.exceptions import RetriesExceededError

        try:
            yield
        except botocore_errors.ClientError as error:
            raise self._client_error(error, key) from error
        except (botocore_errors.NoCredentialsError, botocore_errors.CredentialRetrievalError) as error:
            raise StoreAccessError(
                f"There are no credentials for {self.uri}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
            ) from error
        except (
            botocore_errors.HTTPClientError,
            botocore_errors.ConnectionError,
            botocore_errors.IncompleteReadError,
            RetriesExceededError,
        ) as error:
            raise StoreUnreachableError(
                f"{self._server} could not be reached or broke off ({type(error).__name__}) after "
                f"{self.settings.max_attempts} tries; see whether it runs and REELMILL_S3_ENDPOINT_URL is right."
            ) from error
        except (botocore_errors.BotoCoreError, Boto3Error) as error:
            raise self._misconfigured(error) from error

    def _client_error(self, error: ClientError, key: str) -> Exception:
        code, status = _code(error), error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code == "NoSuchBucket":
            return self._no_bucket()
        if code in _NOT_THERE:
            return self._missing(key)
        if code in _CHANGED:
            return self._changed(key)
        if code in _DENIED or status in (401, 403):
            return StoreAccessError(
                f"{self._server} refuses these credentials for the bucket {self.bucket!r} ({code}); "
                "correct AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or the bucket's policy."
            )
        if code in _BUSY or status >= 500 or status == 429:
            return StoreUnreachableError(
                f"{self._server} answered {code} after {self.settings.max_attempts} tries; try again later."
            )
        return StoreRefusedError(f"{self._server} refused a request for {key!r} in {self.uri} ({code}); ask its owner.")


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown"))
