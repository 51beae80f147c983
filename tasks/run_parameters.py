"""What a flow run's parameters may show. They stand in Prefect's database for everyone who reads the run."""

from __future__ import annotations

import re
from typing import Any

from tasks.url_addresses import redact_url

_URL = re.compile(r"https?://", re.IGNORECASE)


def redacted(value: Any) -> Any:
    """The same value with the query of every URL in it left out, however deep it lies."""
    if isinstance(value, str):
        return redact_url(value) if _URL.match(value) else value
    if isinstance(value, dict):
        return {key: redacted(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(item) for item in value]
    return value


def redact_run_parameters() -> None:
    """Take the secret parts of URLs out of the running flow run's parameters, as the API gives them.

    The process that runs keeps what it was started with; a run that is started again from the API has lost them, and
    `tasks.url_addresses` then says so.
    """
    from prefect.client.orchestration import get_client
    from prefect.runtime import flow_run

    with get_client(sync_client=True) as client:
        run = client.read_flow_run(flow_run.id)
        shown = redacted(run.parameters)
        if shown != run.parameters:
            client.update_flow_run(run.id, parameters=shown)
