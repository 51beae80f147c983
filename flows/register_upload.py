"""Upload registration: what was PUT, an https URL or a worker's file becomes a checked, registered video."""

from __future__ import annotations

from typing import Annotated, Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run
from prefect.states import Failed
from pydantic import Field

from models.errors import ReelmillError
from tasks.arrow_alone import load_arrow
from tasks.run_parameters import redact_run_parameters
from tasks.upload_steps import facts_text, register_video

UploadId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
InputUrl = Annotated[str, Field(pattern=r"^https?://", max_length=8192)]
LocalPath = Annotated[str, Field(min_length=1, max_length=4096)]
FileName = Annotated[str, Field(min_length=1, max_length=200)]


@flow(name="register-upload", persist_result=False, log_prints=False)
def register_upload(
    upload_id: UploadId | None = None,
    input_url: InputUrl | None = None,
    path: LocalPath | None = None,
    file_name: FileName | None = None,
) -> Any:
    """Check a video and keep it for a week under its video_id, which is returned and stands in the run's labels.

    Give exactly one of upload_id, input_url and path.

    Args:
        upload_id: From `request-upload`, once the file, or each of its parts, was PUT.
        input_url: https URL of a video. Its query, which may be a signature, is removed from this run's parameters.
        path: A file on the worker, inside the folder that REELMILL_UPLOAD_LOCAL_DIR names there.
        file_name: Names the video where URL or path end in no extension; for example holiday.mp4.

    """
    source = {"upload_id": upload_id, "input_url": input_url, "path": path, "file_name": file_name}
    redact_run_parameters()
    load_arrow()
    try:
        video = register_video(source)
    except ReelmillError as error:
        return Failed(message=str(error))
    with get_client(sync_client=True) as client:
        client.update_flow_run_labels(flow_run.id, {"video_id": video.video_id})
    create_markdown_artifact(facts_text(video), description=video.file_name)
    return video.video_id
