"""A large file that a caller sends to S3 in parts, each by a presigned PUT; we begin it and put it together.

It knows nothing of what the keys mean. Errors are boto3's, for `tasks.store` to tell.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from tasks.store_interface import MissingPartsError, PresignedPart, PresignedParts, part_sizes

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

_NAMED = 20
"""Missing parts that an error names."""


def offer_parts(
    client: S3Client, bucket: str, key: str, size_bytes: int, part_bytes: int, expires_s: int
) -> PresignedParts:
    """Begin a multipart upload under the whole key `key`, with a presigned PUT of its exact size for each part."""
    sizes = part_sizes(size_bytes, part_bytes)
    upload_id = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    parts = []
    for number, (size, stop) in enumerate(zip(sizes, accumulate(sizes), strict=True), start=1):
        wanted = {
            "Bucket": bucket,
            "Key": key,
            "UploadId": upload_id,
            "PartNumber": number,
            "ContentLength": size,
        }
        url = client.generate_presigned_url("upload_part", Params=wanted, ExpiresIn=expires_s, HttpMethod="PUT")
        parts.append(PresignedPart(number, stop - size, size, url))
    return PresignedParts(upload_id, tuple(parts))


def complete_parts(client: S3Client, bucket: str, key: str, upload_id: str, size_bytes: int, part_bytes: int) -> None:
    """Complete a multipart upload from the parts that the server has; raises `MissingPartsError`."""
    pages = client.get_paginator("list_parts").paginate(Bucket=bucket, Key=key, UploadId=upload_id)
    came = {part["PartNumber"]: (part["Size"], part["ETag"]) for page in pages for part in page.get("Parts", [])}
    wanted = dict(enumerate(part_sizes(size_bytes, part_bytes), start=1))
    missing = [number for number, size in wanted.items() if number not in came or came[number][0] != size]
    if missing:
        named = ", ".join(map(str, missing[:_NAMED])) + (", …" if len(missing) > _NAMED else "")
        raise MissingPartsError(
            f"{len(missing)} of {len(wanted)} parts have not come in their size ({named}); PUT these, then register "
            "again."
        )
    parts: list[CompletedPartTypeDef] = [{"PartNumber": number, "ETag": came[number][1]} for number in wanted]
    client.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id, MultipartUpload={"Parts": parts})
