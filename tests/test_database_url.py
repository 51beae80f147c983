"""Which database the served set-up uses, and that nothing shown of it is a secret."""

from __future__ import annotations

import pytest

from deployments.database_url import DatabaseUrlError, chosen_database, for_prefect, shown_database
from deployments.pool_workers import Worker, worker_environment
from deployments.prefect_server import Connection


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg", "PostgreSQL"])
def test_postgresql_urls_get_the_driver_that_prefect_uses(scheme: str) -> None:
    assert for_prefect(f"{scheme}://u:p@db/name") == "postgresql+asyncpg://u:p@db/name"


@pytest.mark.parametrize("url", ["mysql://u:secret@db/name", "u:secret@db/name", "postgresql:u:secret@db"])
def test_other_urls_are_refused_without_repeating_them(url: str) -> None:
    with pytest.raises(DatabaseUrlError, match="postgresql://") as caught:
        for_prefect(url)
    assert "secret" not in str(caught.value)


def test_the_option_wins_over_the_environment_and_sqlite_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REELMILL_DATABASE_URL", raising=False)
    assert chosen_database(None) is None
    monkeypatch.setenv("REELMILL_DATABASE_URL", "postgresql://u:p@kept/name")
    assert chosen_database(None) == "postgresql+asyncpg://u:p@kept/name"
    assert chosen_database("postgres://u:p@given/name") == "postgresql+asyncpg://u:p@given/name"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (None, "SQLite"),
        ("postgresql+asyncpg://user:secret@db:5432/prefect", "PostgreSQL at db:5432/prefect"),
        ("postgresql+asyncpg://user:sec%40ret@db/prefect?password=secret", "PostgreSQL at db/prefect"),
        ("postgresql+asyncpg:///prefect?host=/run/postgresql", "PostgreSQL at /prefect"),
    ],
)
def test_people_are_shown_no_password(url: str | None, shown: str) -> None:
    assert shown_database(url) == shown


def test_workers_are_not_given_the_database(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("REELMILL_DATABASE_URL", "postgresql://u:secret@db/name")
    monkeypatch.setenv("PREFECT_API_KEY", "secret")
    environment = worker_environment(tmp_path, Connection("http://127.0.0.1:1/api", "user:password"), "/store")
    assert not [name for name, value in environment.items() if "secret" in value]
    assert environment["PREFECT_API_AUTH_STRING"] == "user:password"
    assert environment["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == "30"


def test_without_cuda_each_gpu_pool_has_a_lock_of_its_own() -> None:
    gpu, cpu = Worker("gpu-b", 1, gpu=True), Worker("cpu", 4)
    assert gpu.environment({}, cuda=False) == {"REELMILL_GPU_LOCK": "gpu-b"}
    assert gpu.environment({"REELMILL_GPU_LOCK": "mine"}, cuda=False) == {"REELMILL_GPU_LOCK": "mine"}
    assert gpu.environment({}, cuda=True) == cpu.environment({}, cuda=False) == {}
