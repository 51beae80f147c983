"""The prompts of a request: texts in order, or texts by a name that the result calls them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.errors import PermanentError

if TYPE_CHECKING:
    from models.request import InferenceParams


class PromptsMissingError(PermanentError):
    """What is asked for cannot be done without prompts, and there are none."""


@dataclass(frozen=True)
class NamedPrompts:
    """What a model is to look for, at least one text."""

    texts: tuple[str, ...]
    """What the model reads."""
    names: tuple[str, ...]
    """What the result calls each of them: the text itself, where the request gave no names."""
    by_name: bool
    """Whether the request named them."""


def asked_prompts(params: InferenceParams, inference_type: str) -> NamedPrompts:
    """The prompts in `params`, for a model that is run as `inference_type`. Raises `PromptsMissingError`."""
    prompts = params.prompts
    if not prompts:
        raise PromptsMissingError(
            f"{inference_type} with this model looks for what texts say, and the request has none; add prompts to "
            'inference_params: a list such as ["a dog", "an empty street"], or an object of texts by name.'
        )
    if isinstance(prompts, dict):
        return NamedPrompts(tuple(prompts.values()), tuple(prompts), by_name=True)
    return NamedPrompts(tuple(prompts), tuple(prompts), by_name=False)


class UnusedPromptsError(PermanentError):
    """The model can only ignore the prompts, which cannot be meant."""


def refuse_prompts(params: InferenceParams) -> None:
    """For detectors that find classes of their own. Raises `UnusedPromptsError` where the request has prompts."""
    if params.prompts:
        raise UnusedPromptsError(
            "the model finds classes of its own and takes no prompts; leave them out, or take a detector that is made "
            "for them, such as OWLv2 or Grounding DINO."
        )
