"""The upload flows on a real Prefect server and a real S3 server: states, labels, artifacts as a caller reads them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from flows.cleanup_videos import cleanup_videos
from flows.register_upload import register_upload
from flows.request_upload import request_upload
from flows.result_link import result_link
from tasks.leases import write_lease
from tasks.store import LocalStore, S3Store
from tasks.videos import Video, find_video, list_videos, register_file
from tests.https_server import Page, running_web_server
from tests.video_files import make_no_video, make_video


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELMILL_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def store(s3_store: S3Store, monkeypatch: pytest.MonkeyPatch) -> S3Store:
    monkeypatch.setenv("REELMILL_STORE", s3_store.uri)
    return s3_store


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalStore:
    monkeypatch.setenv("REELMILL_STORE", str(tmp_path / "store"))
    return LocalStore(tmp_path / "store")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("films") / "film.mp4", frames=10)


class Caller:
    """Runs a flow and then knows only what Prefect's REST API says of the run."""

    def __init__(self, api_url: str) -> None:
        self.api = httpx.Client(base_url=api_url)

    def run(self, flow: Callable[..., Any], **parameters: Any) -> dict[str, Any]:
        state = flow(return_state=True, **parameters)
        return self.api.get(f"/flow_runs/{state.state_details.flow_run_id}").raise_for_status().json()

    def artifacts(self, run: dict[str, Any]) -> list[str]:
        wanted = {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}}
        return [item["data"] for item in self.api.post("/artifacts/filter", json=wanted).raise_for_status().json()]


@pytest.fixture
def caller(prefect_server: str) -> Iterator[Caller]:
    caller = Caller(prefect_server)
    yield caller
    caller.api.close()


def failure(run: dict[str, Any]) -> str:
    assert run["state"]["type"] == "FAILED", run["state"]
    return run["state"]["message"]


def test_request_put_register(caller: Caller, store: S3Store, film: Path) -> None:
    run = caller.run(request_upload, file_name="film.mp4", size_bytes=film.stat().st_size)
    assert run["state"]["type"] == "COMPLETED"
    (text,) = caller.artifacts(run)
    offer = json.loads(re.search(r"```json\n(.*?)```", text, re.DOTALL).group(1))
    command = re.search(r"```sh\n(.*?)\n```", text).group(1)
    if shutil.which("curl"):
        subprocess.run(command, shell=True, cwd=film.parent, check=True, capture_output=True, timeout=60)
    else:
        httpx.put(offer["url"], content=film.read_bytes(), headers=offer["headers"]).raise_for_status()
    run = caller.run(register_upload, upload_id=offer["upload_id"])
    assert run["state"]["type"] == "COMPLETED"
    video = find_video(store, run["labels"]["video_id"])
    assert store.read(f"videos/{video.video_id}/source") == film.read_bytes()
    assert f"| sha256 | `{video.sha256}` |" in caller.artifacts(run)[0]
    assert "X-Amz-Signature" not in json.dumps(run) + caller.artifacts(run)[0]


def test_a_large_file_is_requested_put_and_registered_in_parts(
    caller: Caller, store: S3Store, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REELMILL_UPLOAD_PARTS_ABOVE_BYTES", str(film.stat().st_size - 1))
    run = caller.run(request_upload, file_name="film.mp4", size_bytes=film.stat().st_size)
    (text,) = caller.artifacts(run)
    offer = json.loads(re.search(r"```json\n(.*?)```", text, re.DOTALL).group(1))
    assert offer["url"] is None
    (part,) = offer["parts"]
    early = caller.run(register_upload, upload_id=offer["upload_id"])
    assert "1 of 1 parts have not come in their size (1)" in failure(early)
    httpx.put(part["url"], content=film.read_bytes()).raise_for_status()
    for _ in range(2):
        run = caller.run(register_upload, upload_id=offer["upload_id"])
        assert run["state"]["type"] == "COMPLETED"
        assert store.read(f"videos/{run['labels']['video_id']}/source") == film.read_bytes()


def test_a_signed_link_stands_in_its_own_run_only(caller: Caller, store: S3Store, prefect_server: str) -> None:
    run = caller.run(request_upload, file_name="film.mp4", size_bytes=10)
    signature = re.search(r"X-Amz-Signature=([0-9a-f]+)", caller.artifacts(run)[0]).group(1)
    assert signature not in json.dumps(run)
    everywhere = [
        caller.api.post("/flow_runs/filter", json={}).text,
        caller.api.post("/task_runs/filter", json={}).text,
        caller.api.post("/flow_run_states/", params={"flow_run_id": run["id"]}).text,
        caller.api.post("/logs/filter", json={}).text,
        caller.api.post("/artifacts/latest/filter", json={}).text,
    ]
    assert signature not in "".join(everywhere)


@pytest.mark.parametrize(
    ("file_name", "size_bytes"),
    [("film.mov", 1), ("../film.mp4", 1), ("a/b.mp4", 1), ("film.mp4", 0), ("film.mp4", -1)],
)
def test_a_bad_request_is_refused_by_the_schema(file_name: str, size_bytes: int) -> None:
    """The server checks a deployment's runs against this schema before they exist."""
    import jsonschema
    from prefect.utilities.callables import parameter_schema

    schema = parameter_schema(request_upload).model_dump(exclude_unset=True)
    jsonschema.validate({"file_name": "Ferien 1.MP4", "size_bytes": 1}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"file_name": file_name, "size_bytes": size_bytes}, schema)
    assert all(field.get("description") for field in schema["properties"].values())


def test_uploads_that_cannot_be_offered(caller: Caller, local: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    run = caller.run(request_upload, file_name="film.mp4", size_bytes=10)
    assert "reelmill register" in failure(run)
    monkeypatch.setenv("REELMILL_UPLOAD_MAX_VIDEO_BYTES", "9")
    assert "REELMILL_UPLOAD_MAX_VIDEO_BYTES" in failure(caller.run(request_upload, file_name="film.mp4", size_bytes=10))


def test_a_url_is_registered_and_its_signature_is_nowhere(
    caller: Caller, local: LocalStore, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REELMILL_UPLOAD_ALLOW_HTTP", "true")
    monkeypatch.setenv("REELMILL_UPLOAD_ALLOW_PRIVATE_HOSTS", "true")
    with running_web_server() as web:
        web.pages["/film.mp4"] = Page(film.read_bytes())
        url = f"http://127.0.0.1:{web.port}/film.mp4"
        run = caller.run(register_upload, input_url=f"{url}?Signature=top-secret")
        refused = caller.run(register_upload, input_url=f"{url}x?Signature=top-secret")
    assert run["parameters"]["input_url"] == f"{url}?…"
    assert find_video(local, run["labels"]["video_id"]).file_name == "film.mp4"
    assert "404" in failure(refused)
    everywhere = [json.dumps([run, refused]), *caller.artifacts(run), caller.api.post("/logs/filter", json={}).text]
    assert "top-secret" not in "".join(everywhere)


def test_a_private_host_is_refused(caller: Caller, local: LocalStore) -> None:
    run = caller.run(register_upload, input_url="https://169.254.169.254/latest/film.mp4")
    assert "private network" in failure(run)


def test_a_path_is_taken_only_where_the_worker_says_so(
    caller: Caller, local: LocalStore, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "REELMILL_UPLOAD_LOCAL_DIR" in failure(caller.run(register_upload, path=str(film)))
    monkeypatch.setenv("REELMILL_UPLOAD_LOCAL_DIR", str(film.parent))
    run = caller.run(register_upload, path="film.mp4", file_name="holiday.mp4")
    assert [video.file_name for video in list_videos(local)] == ["holiday.mp4"]
    assert run["labels"]["video_id"] == next(list_videos(local)).video_id


def test_what_cannot_be_registered_is_one_sentence(
    caller: Caller, local: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REELMILL_UPLOAD_LOCAL_DIR", str(tmp_path))
    make_no_video(tmp_path, "text")
    for source in ({"path": "video.mp4"}, {"upload_id": "0" * 32}, {}):
        said = failure(caller.run(register_upload, **source))
        assert "Traceback" not in said
        assert "\n" not in said
        assert said.endswith(".")


def test_a_finished_result_is_read_by_a_fresh_link(caller: Caller, store: S3Store) -> None:
    job_id = str(uuid.uuid4())
    assert "no result" in failure(caller.run(result_link, job_id=job_id))
    store.write("results/abc/predictions.json", b'{"frame_offset": [0]}')
    store.write(f"jobs/{job_id}/result.json", json.dumps({"output_uri": "x", "prefix": "results/abc"}).encode())
    (text,) = caller.artifacts(caller.run(result_link, job_id=job_id))
    url = re.fullmatch(r"\[predictions\.json\]\((.*)\)", text).group(1)
    assert httpx.get(url).json() == {"frame_offset": [0]}
    assert "no result" in failure(caller.run(result_link, job_id=job_id, file="predictions.parquet"))


def test_a_result_pointer_cannot_lead_to_a_video(caller: Caller, store: S3Store, film: Path) -> None:
    video = register_file(store, film)
    job_id = str(uuid.uuid4())
    for prefix in (f"videos/{video.video_id}", f"results/../videos/{video.video_id}"):
        store.write(f"jobs/{job_id}/result.json", json.dumps({"prefix": prefix}).encode())
        run = caller.run(result_link, job_id=job_id, file="job.json")
        assert failure(run)
        assert caller.artifacts(run) == []


def test_a_local_result_is_given_by_its_path(caller: Caller, local: LocalStore) -> None:
    job_id = str(uuid.uuid4())
    local.write("results/abc/job.json", b"{}")
    local.write(f"jobs/{job_id}/result.json", b'{"prefix": "results/abc"}')
    (text,) = caller.artifacts(caller.run(result_link, job_id=job_id, file="job.json"))
    assert Path(text.strip("`")).read_bytes() == b"{}"


class TestCleanup:
    @pytest.fixture
    def expired(self, local: LocalStore, film: Path) -> Video:
        """A video that expired an hour ago."""
        video = register_file(local, film)
        moved = video.model_copy(update={"expires_at": datetime.now(UTC) - timedelta(hours=1)})
        local.write(f"videos/{video.video_id}/video.json", moved.model_dump_json().encode())
        return moved

    def scheduled_run(self, caller: Caller, fields: dict[str, Any]) -> str:
        flow = caller.api.post("/flows/", json={"name": "infer-video"}).raise_for_status().json()
        run = {"flow_id": flow["id"], "state": {"type": "SCHEDULED"}} | fields
        return caller.api.post("/flow_runs/", json=run).raise_for_status().json()["id"]

    def test_an_expired_video_goes(self, caller: Caller, local: LocalStore, expired: Video) -> None:
        dry = caller.run(cleanup_videos, dry_run=True)
        assert "Would remove 1 expired videos" in caller.artifacts(dry)[0]
        assert list(list_videos(local)) == [expired]
        done = caller.run(cleanup_videos)
        assert done["state"]["type"] == "COMPLETED"
        assert f"| `{expired.video_id}` |" in caller.artifacts(done)[0]
        assert list(local.list("")) == []
        assert "Removed 0 expired videos" in caller.artifacts(caller.run(cleanup_videos))[0]

    @pytest.mark.parametrize("known_by", ["tag", "parameters", "parameters of a run that has just begun"])
    def test_an_unfinished_job_holds_its_video_until_it_ends(
        self, caller: Caller, local: LocalStore, expired: Video, known_by: str
    ) -> None:
        tagged = {"tags": [f"video:{expired.video_id}", "other"]}
        waiting: dict[str, Any] = {"parameters": {"request": {"video_id": expired.video_id}}}
        if known_by.endswith("begun"):
            waiting["state"] = {"type": "RUNNING"}
        job = self.scheduled_run(caller, tagged if known_by == "tag" else waiting)
        text = caller.artifacts(caller.run(cleanup_videos))[0]
        assert "1 expired videos stay until their jobs end" in text
        assert list(list_videos(local)) == [expired]
        ended = {"state": {"type": "COMPLETED"}, "force": True}
        caller.api.post(f"/flow_runs/{job}/set_state", json=ended).raise_for_status()
        caller.run(cleanup_videos)
        assert list(list_videos(local)) == []

    def test_a_lease_holds_it_too(self, caller: Caller, local: LocalStore, expired: Video) -> None:
        write_lease(local, "job", expired.video_id, lease_s=600)
        caller.run(cleanup_videos)
        assert list(list_videos(local)) == [expired]
