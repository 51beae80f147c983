"""What Prefect's server answers to somebody without the password, and to a caller who asks for a command of his own.

The server is the one that `reelmill up` starts; every route that it describes is tried.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect as connect_websocket
from websockets.typing import Subprotocol

from deployments.child_processes import ChildProcesses
from deployments.prefect_server import Connection, free_port, new_auth, start_server, wait_until_ready
from deployments.registration import connect, prepare_server

pytestmark = pytest.mark.served

OPEN = {("GET", "/api/health"), ("GET", "/api/ready")}
"""All of the API that answers to anybody: probes, which say `true` and no more."""
OPEN_PAGES = ("/", "/ui-settings", "/openapi.json", "/docs")
"""Files of the pages for people, and the description of the API: the same for everybody who installs Prefect."""
POLICY_VIOLATION = 1008
WEBSOCKETS = (
    "events/in",
    "events/out",
    "logs/out",
    "task_runs/subscriptions/scheduled",
    "work_pools/gpu/workers/connect",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    home = tmp_path_factory.mktemp("access")
    children = ChildProcesses(home / "logs")
    port = free_port()
    connection = Connection(f"http://127.0.0.1:{port}/api", new_auth())
    try:
        start_server(children, home / "prefect", connection, port=port)
        wait_until_ready(children, home / "prefect", connection)
        with connect(connection) as client:
            prepare_server(client)
        yield connection
    finally:
        children.stop_all()


@pytest.fixture(scope="module")
def stranger(server: Connection) -> Iterator[httpx.Client]:
    """Somebody who knows the address and nothing else."""
    with httpx.Client(base_url=server.ui_url, trust_env=False, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def caller(server: Connection) -> Iterator[httpx.Client]:
    """Somebody with the password."""
    user, _, password = (server.auth or "").partition(":")
    with httpx.Client(base_url=server.api_url, auth=(user, password), trust_env=False, timeout=30) as client:
        yield client


def described_routes(document: dict[str, Any]) -> list[tuple[str, str]]:
    """Every method and path of an OpenAPI document, with something in place of its parameters; it leaves `/api` out."""
    return [
        (method.upper(), "/api" + re.sub(r"\{[^}]*\}", str(uuid.UUID(int=1)), path))
        for path, methods in document["paths"].items()
        for method in methods
    ]


def test_without_the_password_nothing_but_health_answers(stranger: httpx.Client) -> None:
    routes = described_routes(stranger.get("/openapi.json").json())
    assert len(routes) > 150
    assert set(routes) >= OPEN
    answers = {(method, path): stranger.request(method, path, json={}).status_code for method, path in routes}
    assert {route for route, status in answers.items() if status != httpx.codes.UNAUTHORIZED} == OPEN
    assert stranger.get("/api/health").json() is True


@pytest.mark.parametrize(
    "path",
    [
        "/api/flow_runs/health",
        "/api/variables/name/health",
        "/api//health",
        "/api/health/",
        "/api/health/../flows/filter",
        "/api/health%2f..%2fadmin/settings",
        "/api/admin/settings?x=/api/health",
        "/api/ready/x",
        "/api/docs",
        "/api/openapi.json",
    ],
)
def test_a_path_that_looks_like_health_is_none(stranger: httpx.Client, path: str) -> None:
    assert stranger.get(path).status_code in (401, 404, 307)
    assert stranger.post(path, json={}).status_code in (401, 404, 405, 307)
    assert stranger.get(path, headers={"Host": "x/api/health", "X-Forwarded-Prefix": "/api/health"}).status_code != 200


@pytest.mark.parametrize("header", ["Basic", "Basic Og==", "Bearer x", "Basic cmVlbG1pbGw6", "Basic ****", ""])
def test_a_wrong_password_is_none(stranger: httpx.Client, header: str) -> None:
    assert stranger.post("/api/flows/filter", json={}, headers={"Authorization": header}).status_code == 401


def test_the_password_opens_it(caller: httpx.Client) -> None:
    assert caller.post("/flows/filter", json={}).status_code == 200


@pytest.mark.parametrize("path", OPEN_PAGES)
def test_open_pages_hold_no_secret(server: Connection, stranger: httpx.Client, path: str) -> None:
    answer = stranger.get(path)
    assert answer.status_code == 200
    assert (server.auth or "").partition(":")[2] not in answer.text


@pytest.mark.parametrize("path", WEBSOCKETS)
@pytest.mark.parametrize("token", [None, "reelmill:wrong"])
def test_no_stream_opens_without_the_password(server: Connection, path: str, token: str | None) -> None:
    address = f"{server.api_url.replace('http', 'ws', 1)}/{path}"
    with connect_websocket(address, subprotocols=[Subprotocol("prefect")], open_timeout=10) as stream:
        stream.send(json.dumps({"type": "auth", "token": token}))
        with pytest.raises(ConnectionClosed) as caught:
            stream.recv(timeout=10)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == POLICY_VIOLATION


def smuggled() -> list[dict[str, Any]]:
    return [
        {"command": "touch /tmp/x"},
        {"env": {"EVIL": "1"}},
        {"env.EVIL": "1"},
        {"working_dir": "/"},
        {"image": "evil:1"},
        {"stream_output": "{{ command }}", "command": "true"},
        {"stream_output": {"command": "true"}},
    ]


@pytest.mark.parametrize("variables", smuggled(), ids=lambda variables: "+".join(variables))
def test_a_job_variable_that_decides_what_is_run_is_refused(caller: httpx.Client, variables) -> None:
    deployment = caller.get("/deployments/name/cleanup-videos/default").json()["id"]
    create = f"/deployments/{deployment}/create_flow_run"
    good = caller.post(create, json={}).raise_for_status().json()["id"]

    alone = caller.post(create, json={"job_variables": variables})
    many = caller.post(f"{create}/bulk", json=[{"job_variables": variables}])
    later = caller.patch(f"/flow_runs/{good}", json={"job_variables": variables})

    assert alone.status_code == later.status_code == 422, (alone.text, later.text)
    assert many.json()["results"][0]["status"] == "FAILED", many.text
    assert caller.get(f"/flow_runs/{good}").json()["job_variables"] == {}


def test_setting_up_anew_takes_back_what_a_caller_changed(server: Connection, caller: httpx.Client) -> None:
    deployment = caller.get("/deployments/name/cleanup-videos/default").json()["id"]
    pool = caller.get("/work_pools/cpu").json()
    open_template = {"job_configuration": {"command": "{{ command }}"}, "variables": {"properties": {"command": {}}}}
    changes = [
        caller.patch(f"/deployments/{deployment}", json={"job_variables": {"command": "true"}}),
        caller.patch("/work_pools/cpu", json={"base_job_template": open_template, "is_paused": True}),
    ]
    assert all(answer.is_success for answer in changes), [answer.text for answer in changes]

    with connect(server) as client:
        prepare_server(client)

    assert caller.get(f"/deployments/{deployment}").json()["job_variables"] == {}
    assert caller.get("/work_pools/cpu").json()["base_job_template"] == pool["base_job_template"]
