"""Somebody with an HTTP client and nothing else, for tests of the served set-up."""

from __future__ import annotations

import base64
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from deployments.local import ServedSetup
from tasks.store import open_store

FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


class Caller:
    """Somebody with an HTTP client and nothing else."""

    def __init__(self, setup: ServedSetup, store_folder: Path, video_id: str) -> None:
        auth = base64.b64encode((setup.auth or "").encode()).decode()
        self.client = httpx.Client(base_url=setup.api_url + "/", headers={"Authorization": f"Basic {auth}"}, timeout=30)
        self.store = open_store(str(store_folder))
        self.video_id = video_id

    def post(self, path: str, body: dict[str, Any]) -> Any:
        answer = self.client.post(path, json=body)
        answer.raise_for_status()
        return answer.json()

    def submit(self, *models: dict[str, Any], **fields: Any) -> httpx.Response:
        deployment = self.client.get("deployments/name/infer-video/default").raise_for_status().json()["id"]
        request = {"video_id": self.video_id, "infer_fps": 5, "models": list(models)} | fields
        for wait_s in (0.5, 1.0, 2.0, 4.0, 0.0):
            answer = self.client.post(
                f"deployments/{deployment}/create_flow_run", json={"parameters": {"request": request}}
            )
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                break
            time.sleep(wait_s)  # SQLite is locked now and then; Prefect's own client tries again too
        return answer

    def start(self, *models: dict[str, Any], **fields: Any) -> str:
        """Submit a good request; returns the job's id."""
        answer = self.submit(*models, **fields)
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    def start_flow(self, deployment: str, **parameters: Any) -> str:
        """Start a run of another flow than a job's; returns its id."""
        known = self.client.get(f"deployments/name/{deployment}").raise_for_status().json()["id"]
        return self.post(f"deployments/{known}/create_flow_run", {"parameters": parameters})["id"]

    def run(self, run_id: str) -> dict[str, Any]:
        return self.client.get(f"flow_runs/{run_id}").raise_for_status().json()

    def wait(self, run_id: str, *, within_s: float = 120) -> dict[str, Any]:
        deadline = time.monotonic() + within_s
        run: dict[str, Any] = {"state": "unknown"}
        while time.monotonic() < deadline:
            with suppress(httpx.TimeoutException):  # a server with too little CPU time is asked again
                run = self.run(run_id)
                if run["state"]["type"] in FINAL:
                    return run
            time.sleep(0.5)
        raise AssertionError(f"still {run['state']} after {within_s} s")

    def children(self, run_id: str) -> list[dict[str, Any]]:
        return self.post("flow_runs/filter", {"flow_runs": {"parent_flow_run_id": {"any_": [run_id]}}})

    def task_runs(self, run_id: str) -> dict[str, dict[str, Any]]:
        runs = self.post("task_runs/filter", {"flow_runs": {"id": {"any_": [run_id]}}})
        return {run["name"]: run for run in runs}


def process_of(flow_run_id: str) -> int:
    """The process that a worker started for a flow run, found by its environment."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            environment = (entry / "environ").read_bytes()
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if flow_run_id.encode() in environment and b"prefect" in command:
            return int(entry.name)
    raise AssertionError(f"no process of the flow run {flow_run_id}")
