"""What is left of URLs in parameters. The running flow is in test_upload_flows.py."""

from __future__ import annotations

import pytest

from tasks.run_parameters import redacted
from tasks.url_addresses import BadUrlError, check_url

SIGNED = "https://host/film.mp4?X-Amz-Signature=secret"


def test_queries_go_wherever_they_are() -> None:
    parameters = {
        "request": {"input_url": SIGNED, "models": [{"model_id": "a/b", "urls": [SIGNED]}]},
        "n": 1,
        "x": None,
    }
    assert redacted(parameters) == {
        "request": {
            "input_url": "https://host/film.mp4?…",
            "models": [{"model_id": "a/b", "urls": ["https://host/film.mp4?…"]}],
        },
        "n": 1,
        "x": None,
    }


def test_what_has_no_secret_stays() -> None:
    parameters = {"input_url": "https://host/film.mp4", "path": "film.mp4?x", "rates": [1, 0.5]}
    assert redacted(parameters) == parameters
    assert redacted(redacted({"u": SIGNED})) == redacted({"u": SIGNED})


def test_a_redacted_url_is_refused_with_the_reason() -> None:
    with pytest.raises(BadUrlError, match="whole URL again"):
        check_url(redacted(SIGNED), allow_http=False, allow_private_hosts=False)
