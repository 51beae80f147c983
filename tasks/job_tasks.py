"""The parent's steps as Prefect's tasks."""

from __future__ import annotations

from datetime import datetime

from prefect import task

from models.request import InferenceRequest
from tasks.job_spec import JobSpec, output_uri
from tasks.job_steps import prepare, publish, run_facts, summary_table
from tasks.progress import read_heartbeats
from tasks.results import ResultSummary
from tasks.settings import JobSettings
from tasks.step_options import STEP
from tasks.store import open_store


@task(name="prepare-job", task_run_name="prepare-job", **STEP)
def prepare_job(job_id: str, request: InferenceRequest, submitted_at: datetime) -> JobSpec:
    """Freeze the job spec."""
    return prepare(open_store(), job_id, request, JobSettings(), submitted_at=submitted_at)


@task(name="publish-result", task_run_name="publish-result", **STEP)
def publish_result(spec: JobSpec) -> ResultSummary:
    """Merge the shards and put the summary table where the UI shows it."""
    from prefect.artifacts import create_markdown_artifact

    store = open_store()
    summary = publish(store, spec, JobSettings())
    uri = output_uri(store, spec.result_prefix)
    runs = run_facts(read_heartbeats(store, spec.job_id))
    create_markdown_artifact(summary_table(spec, summary, uri, runs), key=f"summary-{spec.job_id}")
    return summary
