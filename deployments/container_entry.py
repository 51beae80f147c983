"""What a container of ours runs first: secrets from files into the environment, then it becomes the command.

Secrets are given as files because an environment that is set from outside shows in `docker inspect` and in every
manifest. Standard library only: it runs before anything else.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

SECRETS_DIR = Path("/run/secrets")


class SecretFileError(ValueError):
    """A line of a secret file is not NAME=VALUE; the message never repeats the line."""


def settings_of(text: str, origin: str) -> dict[str, str]:
    """The settings of one file: NAME=VALUE a line, as it stands, without quotes; empty lines and `#` lines are none."""
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, mark, value = line.partition("=")
        if not mark or not name.strip().isidentifier():
            raise SecretFileError(f"line {number} of {origin} is not NAME=VALUE")
        found[name.strip()] = value.strip()
    return found


def secret_settings(folder: Path = SECRETS_DIR) -> dict[str, str]:
    """The settings of all `*.env` files of `folder`, in the order of their names; none where there is no folder."""
    found: dict[str, str] = {}
    for path in sorted(folder.glob("*.env")):
        found |= settings_of(path.read_text(), path.name)
    return found


def environment(given: Mapping[str, str], secrets: Mapping[str, str]) -> dict[str, str]:
    """The command's environment: what was given wins, so that one container may differ; pure."""
    return {**secrets, **given}


def main() -> None:
    """Make the temporary directory, read the secrets, become the command."""
    if len(sys.argv) < 2:
        sys.exit("reelmill: the container was given no command")
    try:
        settings = environment(os.environ, secret_settings())
    except (OSError, SecretFileError) as error:
        sys.exit(f"reelmill: {error}")
    Path(settings.get("TMPDIR", "/tmp")).mkdir(mode=0o700, parents=True, exist_ok=True)  # noqa: S108
    os.execvpe(sys.argv[1], sys.argv[1:], settings)  # noqa: S606 - no shell is the point


if __name__ == "__main__":
    main()
