"""What is deployed: entry points that import, pools whose template lets nobody run commands."""

from __future__ import annotations

import asyncio

import pytest
import typer
from prefect.client.orchestration import PrefectClient, get_client
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.workers.process import ProcessJobConfiguration

from deployments.registration import DEPLOYMENTS_FILE, pool_template, read_deployments
from deployments.server_set_up import set_up


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


def test_only_housekeeping_starts_by_itself_and_once_at_a_time():
    scheduled = {entry.entrypoint: entry for entry in read_deployments() if entry.schedules}

    assert set(scheduled) == {"flows.cleanup_videos:cleanup_videos", "flows.sweep_jobs:sweep_jobs"}
    for entry in scheduled.values():
        assert entry.concurrency_limit is not None
        assert (entry.concurrency_limit.limit, entry.concurrency_limit.collision_strategy) == (1, "CANCEL_NEW")


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


def test_a_server_of_ones_own_is_set_up_by_one_command(prefect_server, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", prefect_server)

    set_up(gpu_pool=["gpu-farm"], kind="kubernetes", gpus=4)
    set_up(gpu_pool=["gpu-farm"], kind="kubernetes", gpus=8)

    with get_client(sync_client=True) as client:
        pool = client.read_work_pool("gpu-farm")
        queues = {queue.name: queue.priority for queue in client.read_work_queues(work_pool_name="gpu-farm")}
        deployment = client.read_deployment_by_name("infer-segments/gpu-farm")
    assert (pool.type, pool.concurrency_limit) == ("kubernetes", 8)
    assert pool.base_job_template == pool_template("kubernetes")
    assert queues["interactive"] < queues["bulk"]
    assert deployment.work_pool_name == "gpu-farm"


def test_an_unknown_kind_of_pool_is_refused():
    with pytest.raises(typer.BadParameter, match="process, docker, kubernetes"):
        set_up(kind="mesos")
