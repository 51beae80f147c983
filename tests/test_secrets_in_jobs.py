"""Served jobs with secrets all around them: none shows anywhere, and no caller slips a command into a run.

Keys of the store, a token of the hub, the server's password and a URL's signature are in play; then everything that
the server tells a caller, every log file and every object of the store is searched for them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from deployments.local import ServedSetup, served
from tasks.model_sources import import_folder
from tasks.store import open_store
from tests.http_caller import Caller, process_of
from tests.https_server import Page, WebServer, running_web_server
from tests.tiny_models import save_tiny_classifier
from tests.video_files import make_video

pytestmark = [pytest.mark.served, pytest.mark.long]

SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "aws-secret-5d1f0c7b",
    "HF_TOKEN": "hf_token5d1f0c7b",
    "REELMILL_WEBHOOK_SECRET": "webhook-secret-5d1f0c7b",
    "REELMILL_DATABASE_URL": "postgresql://user:database-5d1f0c7b@127.0.0.1:1/none",
}
SIGNATURE = "X-Amz-Signature=signature-5d1f0c7b"
CLASSIFIER = {"model_id": "tiny-classifier"}
LISTED = ("flow_runs", "task_runs", "artifacts", "deployments", "logs", "work_pools", "automations", "flows", "events")


@dataclass(frozen=True)
class Place:
    """A served set-up on an S3 store, a web server beside it, and a caller."""

    setup: ServedSetup
    caller: Caller
    web: WebServer
    root: Path

    def everything_told(self) -> dict[str, str]:
        """All that the API lists, as text, by where it was found."""
        found: dict[str, str] = {}
        for name in LISTED:
            for page in range(20):
                body = {"limit": 50} if name == "events" else {"limit": 200, "offset": 200 * page}
                answer = self.caller.client.post(f"{name}/filter", json=body)
                answer.raise_for_status()
                found[f"api/{name}/{page}"] = answer.text
                listed = answer.json()
                if name == "events" or len(listed) < 200:
                    break
        return found

    def everything_kept(self) -> dict[str, str]:
        """All files of the server's home but the two that hold its password, and all objects of the store."""
        home = self.setup.home
        files = [path for path in home.rglob("*") if path.is_file() and path.name not in ("auth", "connection.json")]
        found = {str(path.relative_to(home)): path.read_bytes().decode("latin-1") for path in files}
        for info in self.caller.store.list(""):
            found[f"store/{info.key}"] = self.caller.store.read(info.key).decode("latin-1")
        return found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, s3_server: str) -> Iterator[Place]:
    import boto3

    root = tmp_path_factory.mktemp("secrets")
    environment = {
        "AWS_ACCESS_KEY_ID": "test-key",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "REELMILL_S3_ENDPOINT_URL": s3_server,
        "REELMILL_S3_ADDRESSING_STYLE": "path",
        "REELMILL_CACHE_DIR": str(root / "cache"),
        "REELMILL_UPLOAD_ALLOW_HTTP": "true",
        "REELMILL_UPLOAD_ALLOW_PRIVATE_HOSTS": "true",
        "REELMILL_JOB_POLL_S": "0.5",
        "PREFECT_LOGGING_LEVEL": "DEBUG",
        **SECRETS,
    }
    with pytest.MonkeyPatch.context() as patch, running_web_server() as web:
        for name, value in environment.items():
            patch.setenv(name, value)
        boto3.client("s3", endpoint_url=s3_server).create_bucket(Bucket="secrets")
        store = open_store("s3://secrets/store")
        import_folder(store, save_tiny_classifier(root / "tiny-classifier"), "tiny-classifier")
        web.pages["/film.mp4"] = Page(make_video(root / "film.mp4", frames=30).read_bytes())
        with served(root / "home", store.uri, worker_env={"PREFECT_LOGGING_LEVEL": "DEBUG"}) as setup:
            caller = Caller(setup, root, "")
            caller.store = store
            yield Place(setup, caller, web, root)


def start_from_url(place: Place, path: str, **model: Any) -> dict[str, Any]:
    url = f"http://127.0.0.1:{place.web.port}{path}?{SIGNATURE}"
    return place.caller.wait(place.caller.start(CLASSIFIER | model, video_id=None, input_url=url), within_s=180)


def start_deployment(place: Place, name: str, **parameters: Any) -> dict[str, Any]:
    client = place.caller.client
    deployment = client.get(f"deployments/name/{name}/default").json()["id"]
    run = insist(client, "POST", f"deployments/{deployment}/create_flow_run", {"parameters": parameters}).json()
    return place.caller.wait(run["id"])


def test_no_secret_shows_anywhere(place: Place) -> None:
    done = start_from_url(place, "/film.mp4")
    assert done["state"]["type"] == "COMPLETED", done["state"]
    assert start_from_url(place, "/missing.mp4")["state"]["type"] == "FAILED"
    assert start_from_url(place, "/film.mp4", model_id="no/such-model")["state"]["type"] == "FAILED"
    offer = start_deployment(place, "request-upload", file_name="film.mp4", size_bytes=1000)
    assert offer["state"]["type"] == "COMPLETED"
    time.sleep(3)  # logs are sent in batches

    told, kept = place.everything_told(), place.everything_kept()

    assert f"127.0.0.1:{place.web.port}/film.mp4" in told["api/flow_runs/0"], "the run is among what was searched"
    assert "wrote samples" in "".join(text for name, text in told.items() if "logs" in name)
    assert any(name.startswith("store/results/") for name in kept)
    assert any(name.startswith("logs/worker-gpu") for name in kept)
    password = (place.setup.auth or "").partition(":")[2]
    everywhere = [*SECRETS.values(), "database-5d1f0c7b", password]
    for name, text in {**told, **kept}.items():
        for secret in everywhere:
            assert secret not in text, f"{secret} in {name}"
    # SQLite's file may hold what a row held before it was changed: the API is what callers read.
    for name, text in {**told, **kept}.items():
        if not name.startswith("prefect/prefect.db"):
            assert SIGNATURE not in text, f"the URL's signature in {name}"


@pytest.mark.parametrize("way", ["deployment", "flow run"])
def test_a_command_that_passes_the_server_does_not_run(place: Place, way: str) -> None:
    """Prefect checks job variables of a deployment's run, and of neither a changed deployment nor a bare run."""
    client = place.caller.client
    marker = place.root / f"marker-{way.replace(' ', '-')}"
    variables = {"command": f"touch {marker}", "env": {"EVIL_5D1F": "1"}, "working_dir": str(place.root)}
    deployment = client.get("deployments/name/cleanup-videos/default").json()
    scheduled = {"type": "SCHEDULED", "name": "Scheduled"}
    run = {"flow_id": deployment["flow_id"], "deployment_id": deployment["id"], "state": scheduled}
    run |= {"work_pool_name": "cpu", "parameters": {"dry_run": True}}
    if way == "deployment":
        insist(client, "PATCH", f"deployments/{deployment['id']}", {"job_variables": variables})
    else:
        run["job_variables"] = variables
    try:
        run_id = insist(client, "POST", "flow_runs/", run).json()["id"]
        environment = environment_of(run_id)
        ended = place.caller.wait(run_id)
    finally:
        insist(client, "PATCH", f"deployments/{deployment['id']}", {"job_variables": {}})

    assert ended["state"]["type"] == "COMPLETED", ended["state"]
    assert not marker.exists()
    assert b"EVIL_5D1F=1" not in environment
    assert b"REELMILL_DATABASE_URL" not in environment


def insist(client: httpx.Client, method: str, path: str, body: dict[str, Any]) -> httpx.Response:
    """Ask again while SQLite is locked."""
    deadline = time.monotonic() + 30
    while (answer := client.request(method, path, json=body)).status_code == httpx.codes.SERVICE_UNAVAILABLE:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.5)
    return answer.raise_for_status()


def environment_of(run_id: str) -> bytes:
    """What the process of a run was started with, seen while it runs."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            return Path(f"/proc/{process_of(run_id)}/environ").read_bytes()
        except (AssertionError, OSError):
            time.sleep(0.05)
    raise AssertionError(f"no process of {run_id} was seen")


def test_a_search_would_find_a_secret(place: Place) -> None:
    """The search itself is no empty one: what is put there on purpose is found."""
    place.caller.store.write("results/x/job.json", json.dumps({"leak": SECRETS["HF_TOKEN"]}).encode())
    try:
        assert SECRETS["HF_TOKEN"] in place.everything_kept()["store/results/x/job.json"]
    finally:
        place.caller.store.delete(["results/x/job.json"])
