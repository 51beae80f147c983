"""Whole jobs through the flow, embedded: what stands in the store, what callers read of the run, what is done twice."""

from __future__ import annotations

import json
import shutil
from fractions import Fraction
from pathlib import Path
from uuid import UUID

import pyarrow.parquet as pq
import pytest
import supervision as sv
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

from flows.infer_video import infer_video
from models.request import InferenceRequest
from tasks.comparison import compare_results, equal
from tasks.job_spec import read_result_pointer
from tasks.leases import held_videos
from tasks.model_sources import import_folder
from tasks.store import open_store
from tasks.videos import register_file
from tests.tiny_models import save_tiny_classifier, save_tiny_detector
from tests.video_files import Recipe, make_video

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture(scope="module")
def model_folders(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {
        "tiny-detector": save_tiny_detector(root / "tiny-detector"),
        "tiny-classifier": save_tiny_classifier(root / "tiny-classifier"),
    }


@pytest.fixture(scope="module")
def video_path(tmp_path_factory) -> Path:
    return make_video(tmp_path_factory.mktemp("videos") / "numbers.mp4", Recipe(frames=90, rate=Fraction(30), gop=30))


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("REELMILL_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("REELMILL_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("REELMILL_JOB_DISPATCH", "inline")
    monkeypatch.setenv("REELMILL_JOB_POLL_S", "0.2")
    monkeypatch.setenv("REELMILL_DECODE_SEGMENT_S", "1")
    return open_store()


@pytest.fixture
def request_for(store, video_path, model_folders):
    video = register_file(store, video_path)

    def build(*models: dict, **fields) -> InferenceRequest:
        for name in {model["model_id"] for model in models} & set(model_folders):
            import_folder(store, model_folders[name], name)
        return InferenceRequest.model_validate(
            {"video_id": video.video_id, "infer_fps": 5, "models": list(models)} | fields
        )

    return build


DETECTOR = {"model_id": "tiny-detector", "inference_params": {"confidence": 0.0}}
CLASSIFIER = {"model_id": "tiny-classifier"}


def run(request: InferenceRequest):
    """Run the job; returns its final state and its flow run as the API gives it."""
    state = infer_video(request, return_state=True)
    with get_client(sync_client=True) as client:
        return state, client.read_flow_run(state.state_details.flow_run_id)


def result(flow_run) -> dict:
    return json.loads(Path(flow_run.labels["output_uri"], "predictions.json").read_bytes())


def job_json(flow_run) -> dict:
    return json.loads(Path(flow_run.labels["output_uri"], "job.json").read_bytes())


def shards(store) -> dict[str, float]:
    return {info.key: info.modified_at.timestamp() for info in store.list("shards/")}


def test_two_models_give_one_result_and_the_run_says_so(store, request_for) -> None:
    state, flow_run = run(request_for(DETECTOR, CLASSIFIER))
    assert state.is_completed(), state.message
    labels = flow_run.labels
    assert (labels["frames_total"], labels["frames_done"], labels["frames_failed"]) == (15, 15, 0)
    assert f"video:{labels['video_id']}" in flow_run.tags
    costs = job_json(flow_run)["costs"]
    assert labels["decode_cpu_s"] == costs["decode_cpu_s"] > 0
    assert labels["gpu_s.tiny-detector"] == costs["gpu_s"]["tiny-detector"] > 0
    assert labels["written_bytes"] == costs["written_bytes"] > 0
    assert state.result() == labels["output_uri"]
    lists = result(flow_run)
    assert list(lists) == ["frame_offset", "time_offset", "tiny-detector", "tiny-classifier"]
    assert lists["frame_offset"] == list(range(0, 90, 6))
    assert lists["time_offset"] == [round(index / 5, 4) for index in range(15)]
    for element in lists["tiny-detector"]:
        detections = sv.Detections.from_inference(element)
        assert len(detections) == len(element["predictions"]) == 24
    assert all(element["top"] == element["predictions"][0]["class"] for element in lists["tiny-classifier"])
    table = pq.read_table(Path(labels["output_uri"], "predictions.parquet"))
    assert table.num_rows == 30
    assert job_json(flow_run)["counts"] == {
        key: {"ok": 15, "failed": 0} for key in ("tiny-detector", "tiny-classifier")
    }
    assert held_videos(store) == set()


def test_progress_and_summary_are_artifacts_of_the_run(request_for) -> None:
    _, flow_run = run(request_for(CLASSIFIER))
    by_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run.id]))
    with get_client(sync_client=True) as client:
        artifacts = {artifact.type: artifact.data for artifact in client.read_artifacts(artifact_filter=by_run)}
    assert artifacts["progress"] == 100.0
    assert "tiny-classifier" in artifacts["markdown"]
    assert flow_run.labels["output_uri"] in artifacts["markdown"]
    assert "set the pace. Waited: decoding " in artifacts["markdown"]


def test_the_same_request_again_uses_every_shard_as_it_stands(store, request_for) -> None:
    request = request_for(CLASSIFIER)
    _, first = run(request)
    before = shards(store)
    assert len(before) > 1
    _, second = run(request.model_copy(update={"force": True}))
    assert shards(store) == before
    assert second.labels["output_uri"] == first.labels["output_uri"]


def test_the_same_request_later_has_the_result_without_work(store, request_for) -> None:
    state, first = run(request_for(CLASSIFIER, idempotency_key="monday"))
    written = {info.key: info.modified_at for info in store.list("results/")}
    store.delete(shards(store))
    again, second = run(request_for(CLASSIFIER, idempotency_key="monday"))
    assert again.is_completed()
    assert again.message == state.message
    for label in ("output_uri", "frames_total", "frames_done", "frames_failed"):
        assert second.labels[label] == first.labels[label]
    assert shards(store) == {}
    assert {info.key: info.modified_at for info in store.list("results/")} == written
    assert read_result_pointer(store, str(second.id)) == read_result_pointer(store, str(first.id))
    refused, _ = run(request_for(CLASSIFIER, idempotency_key="monday", infer_fps=6))
    assert refused.is_failed()
    assert "belongs to another request" in refused.message


def test_only_what_is_missing_is_done(store, request_for, tmp_path) -> None:
    request = request_for(CLASSIFIER, DETECTOR)
    _, first = run(request)
    undisturbed = shutil.copytree(first.labels["output_uri"], tmp_path / "undisturbed")
    before = shards(store)
    gone = sorted(before)[1]
    store.delete([gone])
    _, second = run(request.model_copy(update={"force": True}))
    after = shards(store)
    assert {key for key, modified in after.items() if before.get(key) != modified} == {gone}
    assert equal(compare_results(undisturbed, Path(second.labels["output_uri"])), box_px=0.05, score=1e-4)


def test_a_model_that_cannot_be_loaded_fails_the_job_and_the_other_is_published(store, request_for) -> None:
    request = request_for(CLASSIFIER, DETECTOR)
    weights = next(info.key for info in store.list("models/tiny-detector") if info.key.endswith(".safetensors"))
    store.write(weights, b"\x00" * 64)
    state, flow_run = run(request)
    assert state.is_failed()
    assert "tiny-detector" in state.message
    assert flow_run.labels["models_failed"] == "tiny-detector"
    lists = result(flow_run)
    assert lists["tiny-detector"] == [None] * 15
    assert all(lists["tiny-classifier"])
    facts = job_json(flow_run)
    assert facts["models_failed"] == ["tiny-detector"]
    assert [failure["frames"] for failure in facts["failures"]] == [15]


def test_a_part_of_the_video_equals_that_part_of_the_whole(request_for) -> None:
    _, whole = run(request_for(CLASSIFIER))
    _, part = run(request_for(CLASSIFIER, start_s=1, end_s=2))
    everything, some = result(whole), result(part)
    assert some["frame_offset"] == [30, 36, 42, 48, 54]
    assert some["time_offset"] == everything["time_offset"][5:10]
    tops = [element["top"] for element in everything["tiny-classifier"]]
    assert [element["top"] for element in some["tiny-classifier"]] == tops[5:10]


def test_one_model_twice_stands_under_two_keys(request_for) -> None:
    _, flow_run = run(request_for(CLASSIFIER | {"alias": "first"}, CLASSIFIER))
    lists = result(flow_run)
    assert list(lists)[2:] == ["first", "tiny-classifier"]
    assert [element["top"] for element in lists["first"]] == [element["top"] for element in lists["tiny-classifier"]]


@pytest.mark.parametrize(
    ("models", "fields", "sentence"),
    [
        ([CLASSIFIER], {"infer_fps": 31}, "30 frames a second"),
        ([{"model_id": "no-such-model"}], {}, "no-such-model"),
        ([CLASSIFIER | {"inference_type": "object-detection"}], {}, "object-detection"),
        ([CLASSIFIER], {"video_id": "0" * 32}, "register"),
        ([CLASSIFIER, CLASSIFIER], {}, "alias"),
        ([CLASSIFIER], {"start_s": 100}, "3"),
    ],
)
def test_a_request_that_cannot_be_done_fails_with_one_sentence(request_for, models, fields, sentence) -> None:
    state, flow_run = run(request_for(*models, **fields))
    assert state.is_failed()
    assert sentence in state.message
    assert "Traceback" not in state.message
    assert "\n" not in state.message
    assert isinstance(flow_run.id, UUID)
