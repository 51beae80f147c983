"""Work on a store that may be away for a while: tried again, slower and slower, for as long as patience lasts.

Hours of inference must not be lost because a store was restarted, or a disk was full until somebody made room.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from models.errors import PassingError

_log = logging.getLogger(__name__)

_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 15.0

Result = TypeVar("Result")


def patiently(
    action: Callable[[], Result], *, patience_s: float, going_on: Callable[[], bool] = lambda: True
) -> Result:
    """Call `action` until it raises no `PassingError`; the last one is raised when patience or `going_on` ends."""
    give_up_s = time.monotonic() + patience_s
    wait_s = _FIRST_WAIT_S
    while True:
        try:
            return action()
        except PassingError as error:
            if time.monotonic() + wait_s > give_up_s or not going_on():
                raise
            _log.warning("%s Tried again in %.1f s.", error, wait_s)
        time.sleep(wait_s)
        wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
