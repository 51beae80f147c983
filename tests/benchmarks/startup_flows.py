"""Flows that do nothing, started as a job's are: what Prefect costs by itself.

As a program, one of them in this process: on Prefect's own temporary server, or on the one that embedded jobs use.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext

CHILD = "trivial-child"
POLL_S = 0.2


def embedded(server: str) -> None:
    """Run a flow that returns 1, on the temporary server of `prefect` or on that of `reelmill`."""
    from deployments.embedded import embedded_prefect

    with embedded_prefect() if server == "reelmill" else nullcontext() as started:
        from prefect import flow

        @flow
        def one() -> int:
            return 1

        if started is not None:
            started.wait_until_ready()
        assert one() == 1


if __name__ == "__main__":
    embedded(sys.argv[1])
else:
    from prefect import flow
    from prefect.deployments import run_deployment

    @flow(name="trivial-parent", persist_result=False)
    def trivial_parent() -> None:
        """Start the child on the other pool, and wait for it."""
        child = run_deployment(f"{CHILD}/default", timeout=None, poll_interval=POLL_S)
        assert child.state is not None
        assert child.state.is_completed()

    @flow(name=CHILD, persist_result=False)
    def trivial_child() -> None:
        """Do nothing."""
