"""What the server does by itself, when no worker is left that could: automations as code.

Flow processes emit a heartbeat event while they live. Where one stops without an ending, the run is marked as crashed:
its pool's slot is free again, and whoever polls sees an end. `sweep-jobs`, which knows leases and can start a job
again, is quicker where a worker runs it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prefect.automations import AutomationCore
    from prefect.client.orchestration import SyncPrefectClient

HEARTBEAT_EVERY_S = 30
"""The shortest that Prefect allows, the same on every worker."""
SILENT_FOR_S = 210
"""Longer than a lease and a sweep take, and no less than three heartbeats."""
_NAME = "reelmill: a run without heartbeat has crashed"


def worker_settings() -> dict[str, str]:
    """Environment of a worker whose runs the automations understand."""
    return {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_EVERY_S)}


def automations(silent_for_s: float = SILENT_FOR_S) -> list[AutomationCore]:
    """All of them."""
    from prefect.automations import AutomationCore, ChangeFlowRunState, EventTrigger, Posture
    from prefect.client.schemas.objects import StateType

    return [
        AutomationCore(
            name=_NAME,
            description=f"No heartbeat for {silent_for_s:g} s after the last one, and no other word of the run.",
            trigger=EventTrigger(
                match={"prefect.resource.id": "prefect.flow-run.*"},
                for_each={"prefect.resource.id"},
                after={"prefect.flow-run.heartbeat"},
                expect={"prefect.flow-run.*"},
                posture=Posture.Proactive,
                threshold=1,
                within=timedelta(seconds=silent_for_s),
            ),
            actions=[
                ChangeFlowRunState(
                    state=StateType.CRASHED,
                    message="no heartbeat of its process; submit the request again to do what is missing",
                )
            ],
        )
    ]


def register_automations(client: SyncPrefectClient) -> None:
    """Make the automations, or bring those of the same name up to date."""
    for automation in automations():
        known = client.read_automations_by_name(automation.name)
        if known:
            client.update_automation(known[0].id, automation)
        else:
            client.create_automation(automation)
