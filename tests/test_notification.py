"""Webhooks against a real https server of this machine: signed, sent again, and never led astray."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import logging
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.states import Cancelling

from models.request import InferenceRequest
from tasks import url_addresses
from tasks.job_spec import write_result_pointer
from tasks.model_sources import import_folder
from tasks.notification import NoWebhookSecretError, keep_webhook, tell_webhook
from tasks.run_parameters import redacted
from tasks.settings import JobSettings
from tasks.store import LocalStore, open_store
from tasks.sweeping import sweep
from tasks.url_addresses import BadUrlError, ForbiddenHostError
from tasks.videos import register_file
from tests.https_server import WebServer, make_certificate, running_web_server
from tests.tiny_models import save_tiny_classifier
from tests.video_files import make_video

HOST = "hooks.test"
KEY = "a secret of ours"
JOB_ID = "6f0c6b1e-0000-4000-8000-000000000001"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("certificates"), HOST)


@pytest.fixture
def lookups(monkeypatch) -> list[str]:
    """The addresses of the host: a look-up takes the next, the last one stays."""
    real, addresses = socket.getaddrinfo, ["127.0.0.1"]

    def resolve(host, *rest, **options):
        if host == HOST:
            host = addresses.pop(0) if len(addresses) > 1 else addresses[0]
        return real(host, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return addresses


@pytest.fixture
def web(certificate, lookups, monkeypatch) -> Iterator[WebServer]:
    """127.0.0.1, and no other private address, passes for a public one."""
    real = url_addresses.is_public
    monkeypatch.setattr(url_addresses, "is_public", lambda it: it == ipaddress.ip_address("127.0.0.1") or real(it))
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    monkeypatch.setenv("REELMILL_WEBHOOK_SECRET", KEY)
    monkeypatch.setenv("REELMILL_WEBHOOK_WAIT_S", "0.05")
    monkeypatch.setenv("REELMILL_WEBHOOK_TIMEOUT_S", "2")
    with running_web_server(certificate) as server:
        yield server


@pytest.fixture
def store(tmp_path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def request(url: str) -> InferenceRequest:
    return InferenceRequest.model_validate({"video_id": "0" * 32, "models": [{"model_id": "m"}], "webhook_url": url})


def hook(web: WebServer) -> str:
    return f"https://{HOST}:{web.port}/ended?token=top-secret"


def test_a_message_says_how_the_job_ended_and_is_signed(web: WebServer, store) -> None:
    keep_webhook(store, JOB_ID, request(hook(web)))
    counts = {"frames_total": 10, "frames_failed": 1, "models_failed": []}
    write_result_pointer(store, JOB_ID, prefix="results/0123", summary=counts)
    assert tell_webhook(store, JOB_ID, "COMPLETED", "9 of 10 frames done")
    ((headers, body),) = web.posted
    assert web.asked == [(f"{HOST}:{web.port}", "/ended?token=top-secret")]
    assert json.loads(body) == {
        "job_id": JOB_ID,
        "state": "COMPLETED",
        "message": "9 of 10 frames done",
        "output_uri": f"{store.uri}/results/0123",
        **counts,
    }
    assert abs(int(headers["Reelmill-Timestamp"]) - time.time()) < 30
    signed = hmac.new(KEY.encode(), headers["Reelmill-Timestamp"].encode() + b"." + body, hashlib.sha256).hexdigest()
    assert headers["Reelmill-Signature"] == f"v1={signed}"
    assert not tell_webhook(store, JOB_ID, "COMPLETED", None), "told once"
    assert list(store.list(f"jobs/{JOB_ID}/webhook")) == [], "and forgotten"


def test_a_busy_server_is_asked_again_and_a_crashed_job_tells_again_when_it_has_gone_on(web: WebServer, store) -> None:
    keep_webhook(store, JOB_ID, request(hook(web)))
    web.post_statuses = [503, 429, 204, 200]
    assert tell_webhook(store, JOB_ID, "CRASHED", "the worker died")
    assert len(web.posted) == 3
    assert tell_webhook(store, JOB_ID, "COMPLETED", None)
    assert [json.loads(body)["state"] for _, body in web.posted] == ["CRASHED"] * 3 + ["COMPLETED"]


@pytest.mark.parametrize(("status", "tries"), [(500, 3), (404, 1), (302, 1), (307, 1)])
def test_tries_are_bounded_and_nothing_follows_a_redirect(web: WebServer, store, monkeypatch, status, tries) -> None:
    monkeypatch.setenv("REELMILL_WEBHOOK_TRIES", "3")
    keep_webhook(store, JOB_ID, request(hook(web)))
    web.post_statuses = [status]
    assert not tell_webhook(store, JOB_ID, "FAILED", "no")
    assert len(web.posted) == tries


def test_a_server_that_is_gone_is_logged_without_the_secret(web: WebServer, store, monkeypatch, caplog) -> None:
    monkeypatch.setenv("REELMILL_WEBHOOK_TRIES", "2")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        keep_webhook(store, JOB_ID, request(f"https://{HOST}:{port}/ended?token=top-secret"))
        with caplog.at_level(logging.DEBUG):
            assert not tell_webhook(store, JOB_ID, "FAILED", "no")
    assert "try 2 of 2" in caplog.text
    assert "top-secret" not in caplog.text
    assert KEY not in caplog.text


def test_an_address_that_turns_private_after_it_was_checked_gets_nothing(web: WebServer, store, lookups) -> None:
    keep_webhook(store, JOB_ID, request(hook(web)))
    lookups[:] = ["127.0.0.2"]
    assert not tell_webhook(store, JOB_ID, "COMPLETED", None)
    assert web.asked == []


def test_the_connection_goes_to_the_address_that_was_checked(web: WebServer, store, lookups) -> None:
    keep_webhook(store, JOB_ID, request(hook(web)))
    lookups[:] = ["127.0.0.1", "127.0.0.2"]
    assert tell_webhook(store, JOB_ID, "COMPLETED", None)
    assert lookups == ["127.0.0.2"], "looked up once"


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("https://127.0.0.1/x", ForbiddenHostError),
        ("https://[::1]/x", ForbiddenHostError),
        ("https://2130706433/x", ForbiddenHostError),
        ("https://169.254.169.254/latest", ForbiddenHostError),
        ("https://user:pass@hooks.test/x", BadUrlError),
        ("https://host/x?…", BadUrlError),
    ],
)
def test_what_no_video_is_fetched_from_is_told_nothing(store, monkeypatch, url, error) -> None:
    monkeypatch.setenv("REELMILL_WEBHOOK_SECRET", KEY)
    with pytest.raises(error):
        keep_webhook(store, JOB_ID, request(url))
    assert list(store.list("")) == []


def test_without_a_secret_a_webhook_is_refused(store, monkeypatch) -> None:
    monkeypatch.delenv("REELMILL_WEBHOOK_SECRET", raising=False)
    with pytest.raises(NoWebhookSecretError, match="REELMILL_WEBHOOK_SECRET"):
        keep_webhook(store, JOB_ID, request("https://example.com/x"))


def test_a_job_that_is_started_again_keeps_the_whole_url(web: WebServer, store) -> None:
    keep_webhook(store, JOB_ID, request(hook(web)))
    shown = redacted({"request": {"webhook_url": hook(web)}})["request"]["webhook_url"]
    assert "top-secret" not in shown
    keep_webhook(store, JOB_ID, request(shown))
    assert tell_webhook(store, JOB_ID, "COMPLETED", None)
    assert web.asked[0][1] == "/ended?token=top-secret"


@pytest.mark.usefixtures("prefect_server")
def test_a_jobs_own_end_is_told_and_its_run_shows_no_secret(web: WebServer, tmp_path, monkeypatch) -> None:
    for name, value in {"STORE": tmp_path / "jobs", "CACHE_DIR": tmp_path / "cache", "JOB_DISPATCH": "inline"}.items():
        monkeypatch.setenv(f"REELMILL_{name}", str(value))
    from flows.infer_video import infer_video

    jobs = open_store()
    import_folder(jobs, save_tiny_classifier(tmp_path / "colours"), "colours")
    video = register_file(jobs, make_video(tmp_path / "numbers.mp4"))
    states = {}
    for models in ([{"model_id": "colours"}], [{"model_id": "no-such-model"}]):
        asked = {"video_id": video.video_id, "models": models, "webhook_url": hook(web)}
        state = infer_video(InferenceRequest.model_validate(asked), return_state=True)
        states[str(state.state_details.flow_run_id)] = state
    told = {said["job_id"]: said for _, body in web.posted for said in [json.loads(body)]}
    assert [said["state"] for said in told.values()] == ["COMPLETED", "FAILED"]
    assert {job_id: said["message"] for job_id, said in told.items()} == {
        job_id: state.message for job_id, state in states.items()
    }
    assert next(iter(told.values()))["frames_failed"] == 0
    with get_client(sync_client=True) as client:
        shown = [client.read_flow_run(UUID(job_id)).model_dump_json() for job_id in states]
    assert not any("top-secret" in text for text in shown)
    kept = [info.key for info in jobs.list("") if b"top-secret" in jobs.read(info.key)]
    assert kept == []


@pytest.mark.usefixtures("prefect_server")
def test_the_sweep_tells_of_a_job_whose_process_is_gone(web: WebServer, store) -> None:
    from flows.infer_video import infer_video

    with get_client(sync_client=True) as client:
        run = client.create_flow_run(infer_video, parameters={}, state=Cancelling())
        keep_webhook(store, str(run.id), request(hook(web)))
        time.sleep(0.3)
        sweep(client, store, JobSettings(lease_s=0.2))
    ((_, body),) = web.posted
    assert (json.loads(body)["job_id"], json.loads(body)["state"]) == (str(run.id), "CANCELLED")
