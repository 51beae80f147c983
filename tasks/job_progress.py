"""What callers poll: labels, a tag and a progress artifact of the job's flow run, made from the GPU runs' heartbeats.

Written by the parent alone, embedded or served. Losing a word of progress to a server that is away harms nobody:
it is logged, and the next one follows.
"""

from __future__ import annotations

import logging
from typing import cast
from uuid import UUID

import httpx
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectHTTPStatusError

from tasks.job_spec import JobSpec, output_uri
from tasks.progress import frames_done, read_heartbeats
from tasks.results import ResultSummary
from tasks.store import Store

_log = logging.getLogger(__name__)


class JobProgress:
    """One job's labels and artifact, from the frozen spec to the published result."""

    def __init__(self, spec: JobSpec, store: Store) -> None:
        """Tag the run with its video, make the artifact and the first labels."""
        self._shown = spec
        self._store = store
        self._run_id = UUID(spec.job_id)
        self._frames_done = 0
        self._tag_video()
        artifact_id = create_progress_artifact(
            progress=0.0, key=f"progress-{spec.job_id}", description=f"0 of {spec.frames_total} frames"
        )
        self._artifact_id = cast("UUID", artifact_id)
        self.label(video_id=spec.video.video_id, frames_total=spec.frames_total, frames_done=0)

    def label(self, **labels: str | float) -> None:
        """Set labels of the flow run; `GET /api/flow_runs/{id}` gives them back."""
        with get_client(sync_client=True) as client:
            client.update_flow_run_labels(self._run_id, dict(labels))

    def look(self) -> None:
        """Show the frames of which every model has spoken by now."""
        self._look_at(self._shown.job_id)

    def look_at(self, leader_id: str) -> None:
        """Show how far another job is that does the same work."""
        self._look_at(leader_id)

    def show_work_of(self, spec: JobSpec) -> None:
        """Show from now on what another job has done, whose result is this one's."""
        self._shown = spec

    def _look_at(self, job_id: str) -> None:
        beats = read_heartbeats(self._store, job_id).values()
        done = frames_done(beats, [model.key for model in self._shown.models])
        if done == self._frames_done:
            return
        try:
            self._show(done)
        except (httpx.HTTPError, PrefectHTTPStatusError) as error:
            _log.warning("progress could not be shown (%s); tried again later", error)

    def end(self, summary: ResultSummary) -> None:
        """Write the final counts and where the result lies."""
        self._show(summary.frames_total - summary.frames_failed)
        labels: dict[str, str | int] = {
            "output_uri": output_uri(self._store, self._shown.result_prefix),
            "frames_failed": summary.frames_failed,
        }
        if summary.models_failed:
            labels["models_failed"] = ",".join(summary.models_failed)
        self.label(**labels)

    def _show(self, done: int) -> None:
        total = self._shown.frames_total
        update_progress_artifact(
            self._artifact_id, progress=round(100 * done / total, 2), description=f"{done} of {total} frames"
        )
        self.label(frames_done=done)
        self._frames_done = done

    def _tag_video(self) -> None:
        """Tags can be filtered by, labels cannot: cleanup finds living jobs of a video by this one."""
        with get_client(sync_client=True) as client:
            tags = set(client.read_flow_run(self._run_id).tags)
            client.update_flow_run(self._run_id, tags=sorted(tags | {f"video:{self._shown.video.video_id}"}))
