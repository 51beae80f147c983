"""What a measurement is made of. Imports nothing: peers import it, in all of their processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Work = Callable[[], dict[str, Any]]
"""Does the work and tells its figures: `frames`, and `setup_s` where models were loaded on the clock.

`after`, where it is there, is called when the clocks stand, and tells more.
"""
