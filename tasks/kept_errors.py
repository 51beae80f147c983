"""Errors that are kept for later: without the frames of the calls they came through."""

from __future__ import annotations

import copy


def kept(error: BaseException) -> BaseException:
    """Give an error of the same kind and text that holds on to nothing.

    An error that is raised refers to every local variable on its way, decoded frames among them. Where one of those
    refers to the error in turn, all of that stays until Python next looks for cycles.
    """
    try:
        alike = copy.copy(error)
    except Exception:
        alike = RuntimeError(f"{type(error).__name__}: {error}")
    alike.__traceback__ = alike.__cause__ = alike.__context__ = None
    return alike
