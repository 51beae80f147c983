"""Which server a command finds, and who may read its password."""

from __future__ import annotations

import stat

import pytest
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from deployments.prefect_server import Connection
from deployments.running_server import (
    AlreadyUpError,
    NoServerError,
    RunningSetup,
    announced,
    find_connection,
    kept_auth,
    only_one,
    running_setup,
)

HERE = RunningSetup("http://127.0.0.1:4200/api", "reelmill:secret", "/some/store")


@pytest.fixture(autouse=True)
def no_server_set(monkeypatch):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.delenv("PREFECT_API_AUTH_STRING", raising=False)
    # The test run's own server is known to Prefect's settings once a flow was tested.
    with temporary_settings(restore_defaults={PREFECT_API_URL, PREFECT_API_AUTH_STRING}):
        yield


def test_a_running_server_is_found_with_its_password(tmp_path):
    with only_one(tmp_path), announced(tmp_path, HERE):
        assert find_connection(tmp_path) == Connection(HERE.api_url, HERE.auth)
        assert running_setup(tmp_path) == HERE
        assert stat.S_IMODE((tmp_path / "connection.json").stat().st_mode) == 0o600
    with pytest.raises(NoServerError, match="reelmill up"):
        find_connection(tmp_path)


def test_what_a_killed_server_left_behind_counts_for_nothing(tmp_path):
    (tmp_path / "connection.json").write_text('{"api_url": "http://127.0.0.1:1/api", "auth": null, "store_uri": "/"}')

    with pytest.raises(NoServerError):
        find_connection(tmp_path)


def test_the_environment_comes_first(tmp_path, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://elsewhere:4200/api/")
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "me:mine")

    with only_one(tmp_path), announced(tmp_path, HERE):
        assert find_connection(tmp_path) == Connection("http://elsewhere:4200/api", "me:mine")


def test_one_home_holds_one_server(tmp_path):
    with only_one(tmp_path), pytest.raises(AlreadyUpError, match="--home"), only_one(tmp_path):
        pass


def test_the_password_is_kept_for_its_owner_only(tmp_path):
    auth = kept_auth(tmp_path)

    assert kept_auth(tmp_path) == auth
    assert len(auth.split(":")[1]) >= 24
    assert stat.S_IMODE((tmp_path / "auth").stat().st_mode) == 0o600
