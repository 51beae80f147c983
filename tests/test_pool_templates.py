"""The pools' templates: what a caller may set, and what no caller can change.

The process template is used by the served tests. Docker's and Kubernetes' are checked here, not run: by Prefect's own
rules for templates, against docker-py's types, and field by field.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from docker.types import HostConfig
from jsonschema import Draft202012Validator
from prefect.client.orchestration import PrefectClient
from prefect.utilities.templating import find_placeholders
from prefect.workers.base import BaseJobConfiguration

import deployments

FOLDER = Path(deployments.__file__).parent
TEMPLATES = {path.stem.removesuffix("-pool"): json.loads(path.read_text()) for path in FOLDER.glob("*-pool.json")}
FORBIDDEN = {"command", "env", "working_dir", "image", "volumes", "networks", "privileged", "job_manifest", "namespace"}
SMUGGLED = {
    "command": "touch /x",
    "env": {"EVIL": "1"},
    "env.EVIL": "1",
    "working_dir": "/",
    "image": "evil:1",
    "volumes": ["/:/host"],
    "privileged": True,
    "container_create_kwargs": {"privileged": True},
    "job_manifest": {},
}

TEMPLATE_SCHEMA = {
    "type": "object",
    "required": ["job_configuration", "variables"],
    "additionalProperties": False,
    "properties": {
        "job_configuration": {"type": "object"},
        "variables": {
            "type": "object",
            "required": ["type", "properties", "additionalProperties"],
            "additionalProperties": False,
            "properties": {
                "type": {"const": "object"},
                "description": {"type": "string"},
                "additionalProperties": {"const": False},
                "properties": {
                    "type": "object",
                    "additionalProperties": {
                        "type": "object",
                        "required": ["type", "title", "description", "default"],
                        "oneOf": [
                            {"properties": {"type": {"const": "boolean"}}},
                            {"properties": {"type": {"const": "integer"}}, "required": ["minimum", "maximum"]},
                        ],
                    },
                },
            },
        },
    },
}


def filled(template: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """The job configuration as Prefect fills it in for a run with these job variables."""

    class AnyConfiguration(BaseJobConfiguration, extra="allow"):
        pass

    nobody = PrefectClient("http://127.0.0.1:9/api")  # never called; without it Prefect would start a server
    configuration = asyncio.run(AnyConfiguration.from_template_and_values(template, values, client=nobody))
    return configuration.model_dump(exclude_unset=True)


def test_there_is_a_template_for_each_kind_of_pool() -> None:
    assert set(TEMPLATES) == {"process", "docker", "kubernetes"}


@pytest.mark.parametrize("kind", TEMPLATES)
def test_variables_are_few_bounded_and_closed(kind: str) -> None:
    Draft202012Validator(TEMPLATE_SCHEMA).validate(TEMPLATES[kind])
    variables = TEMPLATES[kind]["variables"]
    Draft202012Validator.check_schema(variables)
    assert not FORBIDDEN & set(variables["properties"])
    assert {item.name for item in find_placeholders(TEMPLATES[kind]["job_configuration"])} == set(
        variables["properties"]
    )
    wrong = [{name: value} for name, value in SMUGGLED.items()]
    wrong += [{"stream_output": "{{ prefect.variables.x }}"}, {"stream_output": "yes"}]
    assert not [values for values in wrong if Draft202012Validator(variables).is_valid(values)]


@pytest.mark.parametrize("kind", ["docker", "kubernetes"])
def test_memory_is_bounded(kind: str) -> None:
    checker = Draft202012Validator(TEMPLATES[kind]["variables"])
    assert checker.is_valid({"memory_gib": 64})
    assert not checker.is_valid({"memory_gib": 0})
    assert not checker.is_valid({"memory_gib": 10**6})
    assert not checker.is_valid({"memory_gib": "64; reboot"})


@pytest.mark.parametrize("kind", TEMPLATES)
def test_what_a_caller_sends_past_the_template_changes_nothing(kind: str) -> None:
    assert filled(TEMPLATES[kind], dict(SMUGGLED)) == filled(TEMPLATES[kind], {})


def test_docker_takes_the_containers_settings() -> None:
    configuration = filled(TEMPLATES["docker"], {"memory_gib": 16})
    more = configuration["container_create_kwargs"]
    own = {"user"}  # a field of the container, not of its host
    host = HostConfig(
        version="1.43",
        mem_limit=configuration["mem_limit"],
        memswap_limit=configuration["memswap_limit"],
        privileged=configuration["privileged"],
        auto_remove=configuration["auto_remove"],
        binds=configuration["volumes"],
        **{name: value for name, value in more.items() if name not in own},
    )
    assert host["Memory"] == host["MemorySwap"] == 16 * 2**30
    assert host["ShmSize"] == 8 * 2**30
    assert host["DeviceRequests"][0]["Capabilities"] == [["gpu"]]
    assert host["DeviceRequests"][0]["Count"] == 1
    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"]
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert not host.get("Privileged")
    assert more["user"].split(":")[0] != "0"
    # What the pool fixes for every container, no image name may move under.
    assert not configuration["image"].endswith(":latest")
    assert configuration["image"].count(":") == 1


def pod() -> dict[str, Any]:
    return filled(TEMPLATES["kubernetes"], {"memory_gib": 24})["job_manifest"]["spec"]["template"]["spec"]


def test_kubernetes_gets_a_job_that_prefect_takes() -> None:
    """Prefect's Kubernetes worker demands these fields of a manifest, and puts the command where there are no args."""
    manifest = filled(TEMPLATES["kubernetes"], {})["job_manifest"]
    assert (manifest["apiVersion"], manifest["kind"]) == ("batch/v1", "Job")
    assert manifest["metadata"]["namespace"] == filled(TEMPLATES["kubernetes"], {})["namespace"]
    assert (pod()["parallelism"], pod()["completions"], pod()["restartPolicy"]) == (1, 1, "Never")
    (container,) = pod()["containers"]
    assert container["name"] == "prefect-job"
    assert {"command", "args"}.isdisjoint(container)
    assert container["env"] == [], "a list is put behind Prefect's own settings; a dict would take a caller's"
    assert manifest["spec"]["backoffLimit"] == 0, "starting again is the job's own business"


def test_kubernetes_gives_one_gpu_shared_memory_and_bounded_memory() -> None:
    (container,) = pod()["containers"]
    limits, requests = container["resources"]["limits"], container["resources"]["requests"]
    assert limits["nvidia.com/gpu"] == requests["nvidia.com/gpu"] == 1
    assert limits["memory"] == requests["memory"] == "24Gi"
    assert pod()["nodeSelector"]
    volumes = {volume["name"]: volume["emptyDir"] for volume in pod()["volumes"]}
    mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in container["volumeMounts"]}
    assert mounts["/dev/shm"]["medium"] == "Memory"
    assert mounts["/dev/shm"]["sizeLimit"]
    assert mounts["/scratch"]["sizeLimit"]


def test_kubernetes_runs_without_privileges_and_without_the_clusters_credentials() -> None:
    (container,) = pod()["containers"]
    whole, own = pod()["securityContext"], container["securityContext"]
    assert whole["runAsNonRoot"] is True
    assert whole["runAsUser"] > 0
    assert whole["seccompProfile"] == {"type": "RuntimeDefault"}
    assert own["allowPrivilegeEscalation"] is False
    assert own["privileged"] is False
    assert own["readOnlyRootFilesystem"] is True
    assert own["capabilities"] == {"drop": ["ALL"]}
    assert pod()["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod())
    assert not [volume for volume in pod()["volumes"] if "hostPath" in volume]
