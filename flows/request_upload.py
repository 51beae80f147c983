"""A presigned PUT for callers who have no file system in common with us."""

from __future__ import annotations

from typing import Annotated, Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.states import Failed
from pydantic import Field

from models.errors import ReelmillError
from tasks.store import open_store
from tasks.upload_steps import offer_text, offer_upload

FileName = Annotated[
    str,
    Field(
        title="File name",
        max_length=200,
        pattern=r"^[^/\\\x00-\x1f\x7f]+\.([mM][pP]4|[aA][vV][iI]|[mM][kK][vV]|[wW][eE][bB][mM])$",
    ),
]
SizeBytes = Annotated[int, Field(title="Size in bytes", gt=0)]


@flow(name="request-upload", persist_result=False, log_prints=False)
def request_upload(file_name: FileName, size_bytes: SizeBytes) -> Any:
    """Give a link that one video file can be PUT to with any HTTP client.

    The run's artifact holds the link, as a command and as JSON; of a file above 5 GB one link for each part. Afterwards
    run `register-upload` with the upload_id.

    Args:
        file_name: The file's name with its extension: mp4, avi, mkv or webm.
        size_bytes: The file's exact size; a PUT of any other is refused.

    """
    try:
        offer = offer_upload(open_store(), file_name, size_bytes)
    except ReelmillError as error:
        return Failed(message=str(error))
    # Without a key it belongs to this run alone, and shows in no list of artifacts by name.
    create_markdown_artifact(offer_text(offer, file_name), description="Presigned PUT")
    return offer.model_dump(mode="json")
