"""The state that a job ends in, with the sentence that callers read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from models.errors import ReelmillError
from tasks.job_spec import JobSpec, output_uri
from tasks.progress import model_errors
from tasks.results import ResultSummary

if TYPE_CHECKING:
    from tasks.store import Store


def final_state(spec: JobSpec, store: Store, summary: ResultSummary) -> State[str]:
    """COMPLETED when every model has a good element, else FAILED; either way the result is published."""
    uri = output_uri(store, spec.result_prefix)
    counted = f"{summary.frames_total - summary.frames_failed} of {summary.frames_total} frames"
    if not summary.models_failed:
        return Completed(message=f"{counted} done by every model; the result lies at {uri}.", data=uri)
    reasons = model_errors(store, spec.job_id)
    told = "; ".join(
        f"{key}: {reasons.get(key, 'no frame succeeded, job.json says why')}" for key in summary.models_failed
    )
    return Failed(message=f"Without a single good frame: {told} (what the others gave lies at {uri})")


def refused_state(error: ReelmillError) -> State[str]:
    """FAILED with the error's own sentence, and no traceback for a caller to read through."""
    return Failed(message=str(error))
