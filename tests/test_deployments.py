"""What is deployed: entry points that import, pools whose template lets nobody run commands."""

from __future__ import annotations

import asyncio

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.workers.process import ProcessJobConfiguration

from deployments.registration import DEPLOYMENTS_FILE, pool_template, read_deployments


@pytest.mark.parametrize("entry", read_deployments(), ids=lambda entry: entry.entrypoint)
def test_every_entry_point_is_a_flow_of_an_installed_module(entry):
    module, function = entry.entrypoint.split(":")
    assert not module.endswith(".py")

    flow = load_flow_from_entrypoint(entry.entrypoint, use_placeholder_flow=False)

    assert isinstance(flow, Flow)
    assert flow.fn.__module__ == module
    assert flow.name == function.replace("_", "-")


def test_all_flows_are_deployed():
    flow_files = {
        path.stem for path in (DEPLOYMENTS_FILE.parents[1] / "flows").glob("*.py") if not path.stem.startswith("_")
    }
    assert {entry.entrypoint.split(":")[1] for entry in read_deployments()} == flow_files


def test_gpu_deployments_are_made_once_for_each_gpu_pool_and_named_by_it():
    entries = read_deployments(gpu_pools=("gpu", "big-gpu"))

    segments = [entry for entry in entries if entry.entrypoint.endswith(":infer_segments")]

    assert [(entry.name, entry.work_pool.name) for entry in segments] == [("gpu", "gpu"), ("big-gpu", "big-gpu")]
    assert len(entries) == len(read_deployments()) + 1


def test_only_cleanup_starts_by_itself_and_once_at_a_time():
    scheduled = [entry for entry in read_deployments() if entry.schedules]

    assert [entry.entrypoint for entry in scheduled] == ["flows.cleanup_videos:cleanup_videos"]
    assert scheduled[0].concurrency_limit is not None
    assert scheduled[0].concurrency_limit.limit == 1


@pytest.mark.parametrize("name", ["command", "env", "working_dir"])
def test_the_template_takes_no_variable_that_decides_what_is_run(name):
    template = pool_template()

    assert template["variables"]["additionalProperties"] is False
    assert name not in template["variables"]["properties"]
    assert name not in template["job_configuration"]


def test_a_worker_ignores_what_a_caller_sends_past_the_template():
    smuggled = {"command": "touch /x", "env": {"EVIL": "1"}, "env.EVIL": "1", "working_dir": "/"}

    nobody = PrefectClient("http://127.0.0.1:9/api")  # never called; without it Prefect would start a server

    configuration = asyncio.run(
        ProcessJobConfiguration.from_template_and_values(
            pool_template(), {**smuggled, "stream_output": False}, client=nobody
        )
    )

    assert configuration.command is None
    assert configuration.env == {}
    assert configuration.working_dir is None
    assert configuration.stream_output is False
