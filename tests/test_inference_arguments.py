"""From the words of a command line to the request that a job is given."""

from __future__ import annotations

import pytest

from deployments.inference_arguments import kind_of_source, make_request, name_of, rate, source_of
from models.request import BadRequestError
from tasks.store import open_store
from tests.tiny_models import save_tiny_classifier
from tests.video_files import make_video


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path / "store"))


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("5", 5.0), ("0.1", 0.1), ("29.97", 29.97), ("1/3", "1/3"), ("30000/1001", "30000/1001"), ("all", "all")],
)
def test_rates(typed, meant):
    assert rate(typed) == meant


@pytest.mark.parametrize("typed", ["0", "-1", "nan", "inf", "1/0", "", "five"])
def test_rates_that_are_none(typed):
    with pytest.raises(BadRequestError):
        rate(typed)


def test_a_file_goes_before_an_id_that_it_is_called(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = "0" * 32
    assert kind_of_source(name) == "id"
    (tmp_path / name).touch()
    assert kind_of_source(name) == "file"
    assert kind_of_source("https://host/clip.mp4") == "url"


def test_a_result_is_called_after_its_video(tmp_path):
    file = tmp_path / "clip.one.mp4"
    file.touch()

    assert name_of(str(file)) == "clip.one"
    assert name_of("https://host/a%20b/my%20clip.mp4?signature=a/b.c#x") == "my clip"
    assert name_of("https://host/") == "video"


def test_a_folder_is_asked_for_by_its_hash_in_the_store(tmp_path, store):
    folder = save_tiny_classifier(tmp_path / "my weights")

    request = make_request(
        store,
        models=[str(folder), "PekingU/rtdetr_v2_r18vd@main"],
        params=["my weights.top_k=2"],
        fps="2",
        start_s=None,
        end_s=1.5,
        input_url="https://host/clip.mp4",
    )

    mine, hub = request.models
    assert (mine.model_id, len(mine.model_version)) == ("my weights", 64)
    assert mine.inference_params.top_k == 2
    assert (hub.model_id, hub.model_version) == ("PekingU/rtdetr_v2_r18vd", "main")
    assert (request.infer_fps, request.end_s, request.start_s) == (2.0, 1.5, None)


def test_what_was_not_asked_for_stays_unsaid(store):
    """A catalog entry's own defaults count for whatever the request does not name."""
    request = make_request(
        store, models=["a"], params=["a.top_k=3"], fps="2", start_s=None, end_s=None, input_url="https://host/clip.mp4"
    )

    assert request.models[0].model_dump(exclude_unset=True)["inference_params"] == {"top_k": 3}


def test_how_often_a_request_is_done_and_who_is_told_are_part_of_it(store):
    more = {"input_url": "https://host/clip.mp4", "idempotency_key": "monday", "force": True, "webhook_url": None}
    request = make_request(store, models=["a"], params=[], fps="2", start_s=None, end_s=None, **more)

    assert (request.idempotency_key, request.force) == ("monday", True)
    assert "webhook_url" not in request.model_dump(exclude_unset=True)


def test_a_file_is_registered_and_an_id_or_a_url_is_passed_on(tmp_path, store):
    video = make_video(tmp_path / "clip.mp4", frames=5)

    registered = source_of(store, str(video))["video_id"]

    assert store.stat(f"videos/{registered}/video.json") is not None
    assert source_of(store, registered) == {"video_id": registered}
    assert source_of(store, "https://host/clip.mp4") == {"input_url": "https://host/clip.mp4"}
