"""Fixtures that several test files use: the servers that a whole test run starts once."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.s3_server import running_s3_server

if TYPE_CHECKING:
    from tasks.store import S3Store, Store

pytest.register_assert_rewrite("tests.corpus_checks")

# Prefect reads these when it is imported, which test modules do before any fixture runs.
_prefect_home = tempfile.TemporaryDirectory(prefix="prefect-home-", ignore_cleanup_errors=True)
os.environ["PREFECT_HOME"] = _prefect_home.name
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT", "false")
os.environ.setdefault("PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW", "ignore")
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.pop("PREFECT_API_URL", None)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The URL of an S3 server that takes any credentials."""
    with running_s3_server() as url:
        yield url


@pytest.fixture
def s3_environment(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Point every S3 client of the test, and of processes that it starts, at the test server; give its URL."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test-secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("REELMILL_S3_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("REELMILL_S3_ADDRESSING_STYLE", "path")
    return s3_server


@pytest.fixture
def s3_client(s3_environment: str) -> Any:
    """A plain boto3 client, to look at the test server from outside."""
    import boto3

    return boto3.client("s3", endpoint_url=s3_environment)


@pytest.fixture
def s3_store(s3_client: Any) -> S3Store:
    """An empty S3 store under a prefix of a bucket of its own."""
    from tasks.store import S3Store

    bucket = f"test-{uuid.uuid4().hex}"
    s3_client.create_bucket(Bucket=bucket)
    return S3Store(f"s3://{bucket}/some/prefix")


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store of either kind, unless a test's module has a store of its own."""
    from tasks.store import LocalStore

    if request.param == "local":
        return LocalStore(tmp_path / "store")
    made: Store = request.getfixturevalue("s3_store")
    return made


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[str]:
    """Prefect's own temporary server for the whole test run; gives the URL of its API."""
    from prefect.settings import get_current_settings
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=60):
        yield str(get_current_settings().api.url)


@pytest.fixture(scope="session")
def prefect_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache directory in which Prefect's empty database is kept, so that servers of the test run start quickly."""
    folder = tmp_path_factory.mktemp("prefect-cache")
    program = "from deployments.embedded import embedded_prefect\nwith embedded_prefect() as it: it.wait_until_ready()"
    environment = {**os.environ, "REELMILL_CACHE_DIR": str(folder)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=120)
    return folder
