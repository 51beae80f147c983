"""What a versioned bucket keeps beyond what its listing shows: older versions, and marks where something was deleted.

It knows nothing of what the keys mean. Errors are boto3's, for `tasks.store` to tell.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ListObjectVersionsOutputTypeDef, ObjectIdentifierTypeDef


def with_all_versions(client: S3Client, bucket: str, folder: str) -> Iterator[ObjectIdentifierTypeDef]:
    """Yield everything under the whole prefix `folder`."""
    for page in _pages(client, bucket, folder):
        for item in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
            yield {"Key": item["Key"], "VersionId": item["VersionId"]}


def old_versions(client: S3Client, bucket: str, folder: str, before: datetime) -> Iterator[ObjectIdentifierTypeDef]:
    """Yield the versions written before that moment that are no longer what a reader gets."""
    for page in _pages(client, bucket, folder):
        for item in page.get("Versions", []):
            if not item["IsLatest"] and item["LastModified"] < before:
                yield {"Key": item["Key"], "VersionId": item["VersionId"]}


def deletion_marks(client: S3Client, bucket: str, folder: str, before: datetime) -> Iterator[ObjectIdentifierTypeDef]:
    """Yield the marks of deletions before that moment; every version that such a one hides is older still."""
    for page in _pages(client, bucket, folder):
        for item in page.get("DeleteMarkers", []):
            if item["LastModified"] < before:
                yield {"Key": item["Key"], "VersionId": item["VersionId"]}


def _pages(client: S3Client, bucket: str, folder: str) -> Iterator[ListObjectVersionsOutputTypeDef]:
    return iter(client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=folder))
