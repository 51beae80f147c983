"""How a job ended, from what lies in the store."""

from __future__ import annotations

import json

import pytest

from deployments.job_results import NoResultError, fetch_result, outcome_of, result_prefix, result_uris
from tasks.store import open_store

JOB = "0b7c6d1e-0000-4000-8000-000000000001"


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path / "store"))


def put_job(store, *, frames_failed=0, models_failed=(), published=True):
    store.write(f"jobs/{JOB}/spec.json", b"{}")
    if published:
        pointer = {
            "prefix": "results/abc",
            "output_uri": f"{store.uri}/results/abc",
            "frames_total": 5,
            "frames_failed": frames_failed,
            "models_failed": list(models_failed),
        }
        store.write(f"jobs/{JOB}/result.json", json.dumps(pointer).encode())
        for name in ("predictions.json", "predictions.parquet", "job.json"):
            store.write(f"results/abc/{name}", name.encode())


@pytest.mark.parametrize(
    ("job", "state_type", "status"),
    [
        ({}, "COMPLETED", 0),
        ({"frames_failed": 2}, "COMPLETED", 3),
        ({"frames_failed": 5, "models_failed": ["m"]}, "FAILED", 1),
        ({"published": False}, "FAILED", 1),
        ({"published": False}, "CRASHED", 1),
        ({"published": False}, "CANCELLED", 1),
        (None, "FAILED", 2),
        (None, "CRASHED", 1),
    ],
)
def test_exit_status(store, job, state_type, status):
    if job is not None:
        put_job(store, **job)

    assert outcome_of(store, JOB, state_type, None).exit_status == status


def test_result_files_are_named_and_copied(store, tmp_path):
    put_job(store)

    prefix = result_prefix(store, JOB)
    copies = fetch_result(store, prefix, tmp_path / "out" / "here")

    assert [path.read_bytes().decode() for path in copies] == ["predictions.json", "predictions.parquet", "job.json"]
    assert result_uris(store, prefix)[0] == str(tmp_path / "store" / "results" / "abc" / "predictions.json")


def test_a_job_without_a_result_says_whether_one_can_come(store):
    with pytest.raises(NoResultError, match="no job"):
        result_prefix(store, JOB)
    put_job(store, published=False)
    with pytest.raises(NoResultError, match="reelmill status"):
        result_prefix(store, JOB)
