"""The README names every setting, and no setting that there isn't."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from pydantic_settings import BaseSettings

from tasks import settings

README = Path(__file__).resolve().parent.parent / "README.md"


def test_the_settings_table_is_the_settings() -> None:
    classes = [
        member
        for _, member in inspect.getmembers(settings, inspect.isclass)
        if issubclass(member, BaseSettings) and member is not BaseSettings
    ]
    variables = {f"{one.model_config['env_prefix']}{name}".upper() for one in classes for name in one.model_fields}
    assert set(re.findall(r"^\| `(REELMILL_[A-Z0-9_]+)` ", README.read_text(), re.MULTILINE)) == variables
