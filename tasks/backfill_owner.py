"""One run at a time works on a backfill, and a name stands for one source and one request.

Both are kept in the store beside the backfill's table. Who owns a backfill lives as long as its lease does
(`tasks.leases`), so one that was killed is followed by the next as soon as its lease has run out.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

from pydantic import BaseModel, ConfigDict

from models.backfill_request import BackfillRequest
from models.errors import PermanentError
from tasks.job_spec import digest
from tasks.leases import read_lease
from tasks.resolved_models import ResolvedModel
from tasks.store_interface import KeyNotFoundError, ObjectChangedError, Store


class BackfillRunningError(PermanentError):
    """Another run works on the backfill."""


class OtherRequestError(PermanentError):
    """The backfill's name stands for another request."""


class Owner(BaseModel):
    """The run that works on a backfill, or did last."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    claim: str
    """Drawn for each claim: no two write the same bytes."""


class FrozenRequest(BaseModel):
    """What a backfill was begun with; its models stay what they were resolved to then."""

    model_config = ConfigDict(frozen=True)

    request: BackfillRequest
    models: tuple[ResolvedModel, ...]


def name_of(request: BackfillRequest) -> str:
    """The backfill's name: the one that was given, or one made of source and request."""
    return request.name or f"backfill-{digest([request.source, request.common_part()])[:16]}"


def claim(store: Store, name: str, run_id: str, lease_s: float) -> str | None:
    """Make the run the backfill's owner; gives the run that owned it before, if another one did.

    Waits for the lease of one that may be dead to run out. Raises `BackfillRunningError` where it is renewed.
    """
    key = f"backfills/{name}/owner.json"
    mine = Owner(run_id=run_id, claim=uuid4().hex).model_dump_json().encode()
    while True:
        info = store.stat(key)
        before = _owner(store, key)
        if before is not None and before.run_id != run_id:
            _wait_until_dead(store, name, before.run_id, lease_s)
        try:
            store.swap(key, mine, if_etag=info.etag if info is not None else None)
        except ObjectChangedError:
            time.sleep(0.2)  # another was quicker: its lease is looked at
            continue
        return before.run_id if before is not None and before.run_id != run_id else None


def frozen_request(
    store: Store, name: str, request: BackfillRequest, resolve: Callable[[], list[ResolvedModel]]
) -> list[ResolvedModel]:
    """The models of the backfill, resolved once in its life by `resolve`. Raises `OtherRequestError`."""
    key = f"backfills/{name}/request.json"
    try:
        before = FrozenRequest.model_validate_json(store.read(key))
    except KeyNotFoundError:
        models = resolve()
        store.write(key, FrozenRequest(request=request, models=tuple(models)).model_dump_json(indent=1).encode())
        return models
    if before.request.common_part() != request.common_part():
        raise OtherRequestError(
            f"the backfill {name!r} was begun with other models, parameters, rate or range; give another name."
        )
    return list(before.models)


def _owner(store: Store, key: str) -> Owner | None:
    try:
        return Owner.model_validate_json(store.read(key))
    except KeyNotFoundError:
        return None


def _wait_until_dead(store: Store, name: str, run_id: str, lease_s: float) -> None:
    """Return when the lease has run out. A lease that is renewed meanwhile is a living run's."""
    first = lease = read_lease(store, run_id)
    while lease is not None and lease.expires_at > datetime.now(UTC):
        if first is not None and lease.renewed_at > first.renewed_at:
            raise BackfillRunningError(
                f"the run {run_id} works on the backfill {name!r}; wait for it, or cancel it first."
            )
        time.sleep(min(1.0, lease_s / 10))
        lease = read_lease(store, run_id)
