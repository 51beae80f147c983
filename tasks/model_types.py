"""What a model is run as: pure, from what its card or its configuration says and what is asked of it."""

from __future__ import annotations

from collections.abc import Sequence

from models.architectures import types_of
from models.errors import PermanentError
from models.inference_types import TYPES


class WrongTypeError(PermanentError):
    """The model does not do what was asked of it."""


class UnknownTypeError(PermanentError):
    """Neither the request nor the model says what it does."""


def settle_type(name: str, *, architectures: Sequence[str], card_type: str | None, wanted: str | None) -> str:
    """What the model called `name` is run as: its card's word, what is `wanted`, or what its architecture is for.

    Raises `WrongTypeError`, `UnknownTypeError`.
    """
    if card_type is not None:
        if wanted not in (None, card_type):
            raise WrongTypeError(f"the card of {name} says {card_type}, so it cannot be run as {wanted}.")
        return card_type
    runs = [one for one in types_of(architectures) if one in TYPES]
    built = ", ".join(architectures)
    if wanted is None:
        if len(runs) == 1:
            return runs[0]
        if runs:
            raise UnknownTypeError(
                f"{name} is {built}, which can be run in several ways; add inference_type, one of: {', '.join(runs)}."
            )
        if architectures:
            raise WrongTypeError(f"{name} is {built}, which none of {', '.join(TYPES)} runs; take another model.")
        raise UnknownTypeError(
            f"the configuration of {name} does not say what it is for; add inference_type, one of: {', '.join(TYPES)}."
        )
    if architectures and wanted not in runs:
        hint = f"ask for {' or '.join(runs)}" if runs else "take a model that is made for it"
        raise WrongTypeError(f"{name} is {built}, which does not do {wanted}; {hint}.")
    return wanted
