"""The parent's steps as Prefect's tasks."""

from __future__ import annotations

from datetime import datetime

from prefect import task

from models.request import InferenceRequest
from tasks.job_spec import JobSpec, output_uri
from tasks.job_steps import frozen_or_prepared, publish, run_facts, summary_table, take_result
from tasks.progress import read_heartbeats
from tasks.results import ResultSummary
from tasks.settings import JobSettings
from tasks.step_options import STEP
from tasks.store import Store, open_store


@task(name="prepare-job", task_run_name="prepare-job", **STEP)
def prepare_job(job_id: str, request: InferenceRequest, submitted_at: datetime) -> JobSpec:
    """Freeze the job spec, unless it is frozen already."""
    return frozen_or_prepared(open_store(), job_id, request, JobSettings(), submitted_at=submitted_at)


@task(name="publish-result", task_run_name="publish-result", **STEP)
def publish_result(spec: JobSpec) -> ResultSummary:
    """Merge the shards and put the summary table where the UI shows it."""
    store = open_store()
    summary = publish(store, spec, JobSettings())
    _show_summary(spec.job_id, store, spec, summary)
    return summary


@task(name="take-result", task_run_name="take-result", **STEP)
def take_result_of(spec: JobSpec, leader_id: str) -> tuple[JobSpec, ResultSummary]:
    """Take the result of the job that has done the same work, and show its summary; gives that job's spec, too."""
    store = open_store()
    leader, summary = take_result(store, spec, leader_id)
    _show_summary(spec.job_id, store, leader, summary)
    return leader, summary


def _show_summary(job_id: str, store: Store, spec: JobSpec, summary: ResultSummary) -> None:
    from prefect.artifacts import create_markdown_artifact

    runs = run_facts(read_heartbeats(store, spec.job_id))
    table = summary_table(spec, summary, output_uri(store, spec.result_prefix), runs)
    create_markdown_artifact(table, key=f"summary-{job_id}")
