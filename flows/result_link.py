"""A fresh presigned GET for a finished result."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.states import Failed
from pydantic import Field

from models.errors import ReelmillError
from tasks.store import open_store
from tasks.upload_steps import result_address

JobId = Annotated[str, Field(pattern=r"^[0-9a-fA-F-]{32,36}$")]
ResultFile = Literal["predictions.json", "predictions.parquet", "job.json"]


@flow(name="result-link", persist_result=False, log_prints=False)
def result_link(job_id: JobId, file: ResultFile = "predictions.json") -> Any:
    """Give a link that reads a finished job's result for a while; only this run's artifact holds it.

    Args:
        job_id: Id of a run of `infer-video` that has published a result.
        file: Which of the result's files.

    """
    try:
        address = result_address(open_store(), job_id, file)
    except ReelmillError as error:
        return Failed(message=str(error))
    shown = f"[{file}]({address})" if "://" in address else f"`{address}`"
    create_markdown_artifact(shown, description=f"{file} of job {job_id}")
    return address
