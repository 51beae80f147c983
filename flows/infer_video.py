"""One job: plan, GPU runs, aggregate, publish."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.flows import Flow
from prefect.runtime import flow_run

from flows.infer_segments import infer_segments
from models.errors import PermanentError, ReelmillError
from models.request import InferenceRequest
from tasks.arrow_alone import load_arrow
from tasks.costs import cost_labels, job_costs
from tasks.gpu_dispatch import cancel_children, run_groups
from tasks.gpu_watch import RunCancelledError
from tasks.job_progress import JobProgress
from tasks.job_spec import JobSpec
from tasks.job_states import final_state, refused_state
from tasks.job_tasks import prepare_job, publish_result, take_result_of
from tasks.leases import LeaseKeeper
from tasks.notification import tell_webhook
from tasks.request_keys import follow, note_failure
from tasks.results import ResultSummary
from tasks.run_logs import log_to_run
from tasks.run_parameters import redact_run_parameters
from tasks.settings import JobSettings
from tasks.store import Store, open_store


def stop_children(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:  # noqa: ARG001
    """Cancel GPU runs that a parent leaves behind; Prefect itself does it only for a cancelled parent."""
    with get_client(sync_client=True) as client:
        cancel_children(client, flow_run.id)


def _work(spec: JobSpec, store: Store, settings: JobSettings, progress: JobProgress) -> ResultSummary:
    """Do the work that the request asks for; who waits for it is told when it cannot be done."""
    try:
        run_groups(spec, store, settings, look=progress.look, inline=infer_segments)
        summary = publish_result(spec)
    except RunCancelledError:
        raise
    except PermanentError as error:
        note_failure(store, spec, error)
        raise
    progress.label(**cost_labels(job_costs(store, spec.result_prefix)))
    return summary


def tell_caller(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:  # noqa: ARG001
    """Tell the request's webhook how the job ended."""
    ended = StateType.CANCELLED if state.type is StateType.CANCELLING else state.type
    tell_webhook(open_store(), str(flow_run.id), ended.value, state.message)


@flow(
    name="infer-video",
    persist_result=False,
    on_completion=[tell_caller],
    on_failure=[stop_children, tell_caller],
    on_crashed=[stop_children, tell_caller],
    on_cancellation=[stop_children, tell_caller],
)
def infer_video(request: InferenceRequest) -> Any:
    """Run models on the frames of one video and write one result.

    Poll the run: its state says whether it is done; its labels say `frames_total`, `frames_done`, `frames_failed`,
    `video_id`, and `output_uri`, where predictions.json, predictions.parquet and job.json lie when it is. What
    the work cost stands there too: `decode_cpu_s`, `gpu_s` (and `gpu_s.` with a model's key), `read_bytes`,
    `written_bytes`. Returns the output URI.

    The same request twice is one piece of work: while a job does it, others join that one and end as it does; later
    ones get the finished result. Started again under the same id, a job goes on from what stands in the store.

    Args:
        request: Which video, which models, how many frames a second.

    """
    redact_run_parameters()
    log_to_run()
    load_arrow()
    settings = JobSettings()
    try:
        store = open_store()
        with LeaseKeeper(store, str(flow_run.id), settings.lease_s) as lease:
            spec = prepare_job(str(flow_run.id), request, flow_run.scheduled_start_time)
            lease.hold(spec.video.video_id)
            progress = JobProgress(spec, store)
            leader_id = follow(store, spec, poll_s=settings.poll_s, look=progress.look_at)
            if leader_id is None:
                summary = _work(spec, store, settings, progress)
            else:
                spec, summary = take_result_of(spec, leader_id)
                progress.show_work_of(spec)
            progress.end(summary)
        return final_state(spec, store, summary)
    except ReelmillError as error:
        return refused_state(error)
