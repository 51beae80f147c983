"""From whatever went wrong to one sentence and an exit status. Imports nothing that the failing code had not."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from deployments.signals import INTERRUPTED
from models.errors import PermanentError, ReelmillError

FAILED = 1
BAD_REQUEST = 2
INCOMPLETE = 3


@dataclass(frozen=True)
class Complaint:
    """What to print, and the exit status."""

    sentence: str
    status: int


class JobFailedError(ReelmillError):
    """The job ran and failed; its own sentence says why."""


def complaint_about(error: BaseException) -> Complaint:
    """The sentence that a person can act on."""
    if isinstance(error, KeyboardInterrupt):
        return Complaint("interrupted.", INTERRUPTED)
    if isinstance(error, ReelmillError):
        return Complaint(str(error), BAD_REQUEST if isinstance(error, PermanentError) else FAILED)
    for known in (_about_usage, _about_validation, _about_server, _about_files):
        if complaint := known(error):
            return complaint
    return Complaint(
        f"unexpected {type(error).__name__}: {_one_line(str(error))}; set REELMILL_DEBUG=1 to see where it came from.",
        FAILED,
    )


def _about_usage(error: BaseException) -> Complaint | None:
    """Typer's own complaints: an unknown option, a missing argument, a question that was answered with no."""
    if type(error).__name__ == "Abort":
        return Complaint("nothing was done.", FAILED)
    if not hasattr(error, "format_message") or not hasattr(error, "exit_code"):
        return None
    context: Any = getattr(error, "ctx", None)
    help_hint = f" See `{context.command_path} --help`." if context else ""
    message = _one_line(error.format_message())
    return Complaint(f"{message}{help_hint}" if message else "", BAD_REQUEST)


def _about_validation(error: BaseException) -> Complaint | None:
    pydantic = sys.modules.get("pydantic")
    if pydantic is None or not isinstance(error, pydantic.ValidationError):
        return None
    return Complaint(validation_sentence(error.errors(include_url=False)), BAD_REQUEST)


def validation_sentence(errors: list[dict[str, Any]]) -> str:
    """Pydantic's errors in one sentence: each field by its path, and what is wrong with it."""
    told: dict[str, str] = {}
    for item in errors:
        path = ".".join(str(part) for part in item["loc"] if not _is_branch_of_union(part))
        told.setdefault(path, _one_line(item["msg"].removeprefix("Value error, ")))
    return "; ".join(f"{path}: {message}" if path else message for path, message in told.items()) + "."


def _is_branch_of_union(part: object) -> bool:
    return isinstance(part, str) and (part in {"str", "float", "int"} or "[" in part)


def _about_server(error: BaseException) -> Complaint | None:
    """What comes of talking to Prefect's API."""
    httpx = sys.modules.get("httpx")
    exceptions = sys.modules.get("prefect.exceptions")
    if exceptions is not None:
        if isinstance(error, exceptions.ObjectNotFound):
            return Complaint(f"the Prefect server knows nothing of that: {_one_line(str(error))}", BAD_REQUEST)
        if isinstance(error, (exceptions.ParameterTypeError, exceptions.ParameterBindError)):
            return Complaint(f"the request does not fit: {_one_line(str(error))}", BAD_REQUEST)
    if httpx is None:
        return None
    if isinstance(error, httpx.HTTPStatusError):
        return _about_answer(error.response)
    if isinstance(error, httpx.TransportError):
        return _about_silence(error)
    return None


def _about_silence(error: Any) -> Complaint:
    cause = _one_line(str(error)) or type(error).__name__
    try:
        url = error.request.url
    except RuntimeError:  # httpx: the request was never set
        return Complaint(f"the network failed ({cause}); try again.", FAILED)
    address = f"{url.scheme}://{url.netloc.decode()}"
    if not url.path.startswith("/api/"):
        return Complaint(f"nothing answers at {address} ({cause}); try again.", FAILED)
    return Complaint(
        f"no Prefect server answers at {address} ({cause}); start one with `reelmill up`, or set PREFECT_API_URL.",
        FAILED,
    )


def _about_answer(response: Any) -> Complaint:
    if response.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return Complaint(
            "the Prefect server asks for another password; set PREFECT_API_AUTH_STRING to user:password.", BAD_REQUEST
        )
    try:
        detail = response.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = response.text
    refused = response.status_code < HTTPStatus.INTERNAL_SERVER_ERROR
    return Complaint(
        f"the Prefect server {'refuses that' if refused else 'failed'} ({response.status_code}): "
        f"{_one_line(str(detail))[:500]}",
        BAD_REQUEST if refused else FAILED,
    )


def _about_files(error: BaseException) -> Complaint | None:
    if not isinstance(error, OSError) or error.strerror is None:
        return None
    named = f"{error.filename}: " if error.filename else ""
    return Complaint(f"{named}{error.strerror}.", FAILED)


def _one_line(text: str) -> str:
    return " ".join(text.split())
