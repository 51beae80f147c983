"""Tells a caller's webhook that a job has ended: one signed POST, sent again while that may help. Runs without Prefect.

The message is JSON: `job_id`, `state` (COMPLETED, FAILED, CRASHED or CANCELLED), `message`, and, where a result was
published, `output_uri`, `frames_total`, `frames_failed` and `models_failed`. Its header `Reelmill-Timestamp` holds the
Unix time in seconds, `Reelmill-Signature` the text `v1=` and HMAC-SHA256 in hexadecimal over timestamp, "." and body,
keyed with REELMILL_WEBHOOK_SECRET. A receiver checks the signature and refuses old timestamps; it may get a message
twice.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import time
from typing import Any

import httpx

from models.errors import PassingError, PermanentError
from models.request import InferenceRequest
from tasks.job_spec import read_result_pointer
from tasks.pinned_requests import pinned_answer
from tasks.settings import UploadSettings, WebhookSettings
from tasks.store_interface import Store
from tasks.url_addresses import CheckedUrl, check_url, redact_url

_log = logging.getLogger(__name__)

TIMESTAMP_HEADER = "Reelmill-Timestamp"
SIGNATURE_HEADER = "Reelmill-Signature"
_MAY_PASS = {408, 425, 429}
_TOLD = ("output_uri", "frames_total", "frames_failed", "models_failed")


class NoWebhookSecretError(PermanentError):
    """A webhook was asked for where messages cannot be signed."""


class WebhookRefusedError(PermanentError):
    """The webhook's server does not take the message."""


class WebhookBrokenError(PassingError):
    """The webhook's server is out of reach, too slow, or busy."""


def keep_webhook(store: Store, job_id: str, request: InferenceRequest) -> None:
    """Check the request's webhook, if it has one, and remember it until the job has ended.

    It lies in the store, where a job that is started again finds it; nothing that readers see repeats it. Raises
    `NoWebhookSecretError` and what `check_url` raises.
    """
    if request.webhook_url is None or store.stat(_key(job_id)) is not None:
        return
    if WebhookSettings().secret is None:
        raise NoWebhookSecretError(
            "this set-up sends no webhooks; set REELMILL_WEBHOOK_SECRET for its workers, or leave webhook_url out."
        )
    _checked(request.webhook_url)
    store.write(_key(job_id), json.dumps({"url": request.webhook_url}).encode())


def tell_webhook(store: Store, job_id: str, state: str, message: str | None) -> bool:
    """Tell the job's webhook, where it has one, that the job ended in this state; whether it was told.

    What goes wrong is logged and harms nobody. After CRASHED the webhook is remembered still: the job may be started
    again.
    """
    try:
        if store.stat(_key(job_id)) is None:
            return False
        url = json.loads(store.read(_key(job_id)))["url"]
        told = _send_bounded(url, message_of(store, job_id, state, message), WebhookSettings())
        if state != "CRASHED":
            store.delete([_key(job_id)])
    except Exception:
        _log.exception("the webhook of job %s could not be told", job_id)
        return False
    return told


def message_of(store: Store, job_id: str, state: str, message: str | None) -> bytes:
    """What the webhook is sent, as JSON."""
    pointer: dict[str, Any] = read_result_pointer(store, job_id) or {}
    result = {name: pointer[name] for name in _TOLD if name in pointer}
    return json.dumps({"job_id": job_id, "state": state, "message": message, **result}).encode()


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """What `Reelmill-Signature` says."""
    return f"v1={hmac.new(secret.encode(), timestamp.encode() + b'.' + body, hashlib.sha256).hexdigest()}"


def send(url: str, body: bytes, settings: WebhookSettings) -> None:
    """Send one signed message, once, to an address that was checked just now; redirects are not followed.

    Raises `WebhookRefusedError`, `WebhookBrokenError` and what `check_url` raises; no text shows more of the URL than
    scheme, host and path.
    """
    checked = _checked(url)
    timestamp = str(int(time.time()))
    secret = settings.secret.get_secret_value() if settings.secret is not None else ""
    headers = {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        TIMESTAMP_HEADER: timestamp,
        SIGNATURE_HEADER: signature(secret, timestamp, body),
    }
    try:
        with pinned_answer(checked, settings.timeout_s, method="POST", headers=headers, body=body) as answer:
            status = answer.status_code
    except httpx.HTTPError as error:
        raise _broken(checked.url, error) from None
    if status in _MAY_PASS or status >= httpx.codes.INTERNAL_SERVER_ERROR:
        raise WebhookBrokenError(f"{redact_url(checked.url)} answered {status}.")
    if not httpx.codes.is_success(status):
        raise WebhookRefusedError(f"{redact_url(checked.url)} answered {status}; redirects are not followed.")


def _send_bounded(url: str, body: bytes, settings: WebhookSettings) -> bool:
    for number in range(settings.tries):
        if number:
            time.sleep(settings.wait_s * 2 ** (number - 1))
        try:
            send(url, body, settings)
        except PassingError as error:
            _log.warning("the webhook was not told at try %d of %d: %s", number + 1, settings.tries, error)
        except PermanentError as error:
            _log.warning("the webhook was not told: %s", error)
            return False
        else:
            return True
    return False


def _checked(url: str) -> CheckedUrl:
    return check_url(url, allow_http=False, allow_private_hosts=UploadSettings().allow_private_hosts)


def _broken(url: httpx.URL, error: httpx.HTTPError) -> WebhookRefusedError | WebhookBrokenError:
    """A sentence without the error's own text, which may repeat the URL."""
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return WebhookRefusedError(f"the certificate of {url.host!r} is not trusted.")
    return WebhookBrokenError(f"{redact_url(url)} could not be reached ({type(error).__name__}).")


def _key(job_id: str) -> str:
    return f"jobs/{job_id}/webhook.json"
