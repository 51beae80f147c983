"""A store that is away for a while costs time, and nothing else."""

from __future__ import annotations

import pytest

from models.errors import PermanentError
from tasks.store import StoreUnreachableError
from tasks.store_patience import patiently


def failing(times: int, error: Exception):
    left = [times]

    def action() -> str:
        if left[0]:
            left[0] -= 1
            raise error
        return "done"

    return action


def test_it_is_tried_again_until_it_works() -> None:
    assert patiently(failing(2, StoreUnreachableError("away")), patience_s=10) == "done"


def test_patience_ends_and_so_does_the_wish_to_go_on() -> None:
    with pytest.raises(StoreUnreachableError):
        patiently(failing(99, StoreUnreachableError("away")), patience_s=0.8)
    with pytest.raises(StoreUnreachableError):
        patiently(failing(99, StoreUnreachableError("away")), patience_s=600, going_on=lambda: False)


def test_what_will_not_pass_is_raised_at_once() -> None:
    with pytest.raises(PermanentError):
        patiently(failing(1, PermanentError("no")), patience_s=600)
