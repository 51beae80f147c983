"""Dockerfiles and the compose file, as far as they can be checked without building or running them."""

from __future__ import annotations

import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import deployments
from deployments.compose_secrets import secret_files, write_secrets
from deployments.container_entry import SecretFileError, environment, secret_settings, settings_of
from deployments.registration import CPU_POOL, GPU_POOL

FOLDER = Path(deployments.__file__).parent
DOCKERFILES = [FOLDER / "Dockerfile", FOLDER / "Dockerfile.cuda"]
COMPOSE = yaml.safe_load((FOLDER / "docker-compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name for name, service in SERVICES.items() if service["image"].startswith("reelmill")}


def instructions(path: Path) -> list[tuple[str, str]]:
    """A Dockerfile's instructions with their arguments, continued lines joined."""
    text = re.sub(r"\\\n\s*", " ", re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.MULTILINE))
    return [(line.split(" ", 1)[0].upper(), line.split(" ", 1)[1]) for line in text.splitlines() if line.strip()]


def is_pinned(image: str) -> bool:
    tag = image.rpartition(":")[2] if ":" in image else ""
    return bool(re.search(r"\d", tag)) and tag != "latest"


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_an_image_is_pinned_small_and_not_roots(path: Path) -> None:
    steps = instructions(path)
    known = {"FROM", "ARG", "WORKDIR", "COPY", "RUN", "ENV", "VOLUME", "USER", "ENTRYPOINT", "CMD"}
    assert {name for name, _ in steps} <= known
    images = [rest.split()[0] for name, rest in steps if name == "FROM"]
    assert images
    assert all(map(is_pinned, images))
    users = [rest for name, rest in steps if name == "USER"]
    assert users
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1])
    installs = [rest for name, rest in steps if name == "RUN" and "pip install" in rest]
    assert installs
    assert all("--constraint constraints.txt" in rest for rest in installs)
    assert all("--no-install-recommends" in rest for name, rest in steps if "apt-get install" in rest)
    copied = [rest.split()[-2].removeprefix("./") for name, rest in steps if name == "COPY" and "--from" not in rest]
    assert "." not in copied, "a whole folder may hold secrets"
    secret = re.compile(r"PASSWORD|SECRET|TOKEN|AUTH|KEY", re.IGNORECASE)
    assert not [rest for name, rest in steps if name in ("ENV", "ARG") and secret.search(rest)]
    ignored = path.with_name(f"{path.name}.dockerignore").read_text().splitlines()
    assert "*" in ignored
    assert "deployments/secrets" in ignored


def test_what_an_image_copies_is_there_and_let_through() -> None:
    for path in DOCKERFILES:
        let_through = set(path.with_name(f"{path.name}.dockerignore").read_text().splitlines())
        for name, rest in instructions(path):
            if name == "COPY" and "--from" not in rest:
                for source in rest.split()[:-1]:
                    assert (FOLDER.parent / source).exists(), source
                    assert f"!{source.removeprefix('./')}" in let_through


def test_the_compose_file_names_only_what_it_has() -> None:
    assert set(COMPOSE) - {"name", "services", "networks", "volumes", "secrets"} == {
        "x-locked",
        "x-worker-settings",
    }
    for name, service in SERVICES.items():
        assert is_pinned(service["image"]), name
        assert set(service.get("secrets", ())) <= set(COMPOSE["secrets"]), name
        assert set(service["networks"]) <= set(COMPOSE["networks"]), name
        assert set(service.get("depends_on", ())) <= set(SERVICES), name
        named = [volume.split(":")[0] for volume in service.get("volumes", ())]
        assert set(named) <= set(COMPOSE["volumes"]), name
    assert {Path(entry["file"]).name for entry in COMPOSE["secrets"].values()} == set(secret_files())


def test_nothing_listens_beyond_the_machine_and_only_the_server_reaches_the_database() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert {name for name, service in SERVICES.items() if "database" in service["networks"]} == {"database", "server"}
    assert COMPOSE["networks"]["database"]["internal"] is True
    assert not [name for name, service in SERVICES.items() if service.get("privileged")]


def test_no_password_stands_in_the_compose_file() -> None:
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|SECRET|AUTH|KEY", name):
                assert str(value).startswith("/run/secrets/"), name


def test_our_containers_are_locked_and_workers_serve_the_pools() -> None:
    assert {"server", "set-up", "worker-cpu", "worker-gpu"} == OURS
    for name in OURS:
        service = SERVICES[name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]
        assert "user" not in service, "the image's own, which is not root"
        assert "/scratch" in str(service.get("volumes", service.get("tmpfs")))
    pools = {name: SERVICES[name]["command"][SERVICES[name]["command"].index("--pool") + 1] for name in WORKERS}
    assert pools == {"worker-cpu": CPU_POOL, "worker-gpu": GPU_POOL}
    gpu = SERVICES["worker-gpu"]
    assert gpu["command"][-2:] == ["--limit", "1"]
    assert gpu["shm_size"]
    assert gpu["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]


WORKERS = ("worker-cpu", "worker-gpu")


def test_secrets_are_random_and_workers_do_not_get_the_database(tmp_path: Path) -> None:
    assert write_secrets(tmp_path / "secrets")
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    first = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    assert not write_secrets(tmp_path / "secrets"), "what is there is kept"
    assert {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()} == first
    assert not set(first.values()) & set(secret_files().values())
    server, worker = (settings_of(first[name], name) for name in ("server.env", "worker.env"))
    assert first["database_password"] in server["PREFECT_SERVER_DATABASE_CONNECTION_URL"]
    assert first["database_password"] not in first["worker.env"]
    assert worker["PREFECT_API_AUTH_STRING"] == server["PREFECT_SERVER_API_AUTH_STRING"]
    assert len(server["PREFECT_SERVER_API_AUTH_STRING"]) > 30


def test_the_entry_reads_secret_files_and_becomes_the_command(tmp_path: Path) -> None:
    (tmp_path / "a.env").write_text("# one\n\nNAME=a=b c\nOTHER=1\n")
    (tmp_path / "b.env").write_text("OTHER=2\n")
    (tmp_path / "password").write_text("not read")
    assert secret_settings(tmp_path) == {"NAME": "a=b c", "OTHER": "2"}
    assert secret_settings(tmp_path / "none") == {}
    assert environment({"OTHER": "mine"}, {"OTHER": "theirs", "X": "1"}) == {"OTHER": "mine", "X": "1"}
    with pytest.raises(SecretFileError, match=r"line 2 of x\.env") as caught:
        settings_of("A=1\nmy password\n", "x.env")
    assert "my password" not in str(caught.value)

    told = subprocess.run(
        [sys.executable, "-m", "deployments.container_entry", sys.executable, "-c", "import os; print(os.getpid())"],
        env={"TMPDIR": str(tmp_path / "new"), "PATH": "/usr/bin"},
        cwd=FOLDER.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip().isdecimal()
    assert (tmp_path / "new").is_dir()
