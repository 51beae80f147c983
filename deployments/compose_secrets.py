"""Make the random passwords of docker-compose.yaml: `python -m deployments.compose_secrets [FOLDER]`.

What is there stays as it is: a database keeps the password that it was made with.
"""

from __future__ import annotations

import secrets
import sys
from pathlib import Path

from deployments.prefect_server import new_auth

FOLDER = Path(__file__).parent / "secrets"


def secret_files() -> dict[str, str]:
    """Contents by file name, all of them fresh."""
    auth = new_auth()
    database = secrets.token_urlsafe(24)
    s3_user, s3_password = f"reelmill-{secrets.token_hex(4)}", secrets.token_urlsafe(24)
    return {
        "database_password": database,
        "s3_user": s3_user,
        "s3_password": s3_password,
        "server.env": _lines(
            PREFECT_SERVER_API_AUTH_STRING=auth,
            PREFECT_API_AUTH_STRING=auth,
            PREFECT_SERVER_DATABASE_CONNECTION_URL=f"postgresql+asyncpg://prefect:{database}@database:5432/prefect",
        ),
        "worker.env": _lines(
            PREFECT_API_AUTH_STRING=auth, AWS_ACCESS_KEY_ID=s3_user, AWS_SECRET_ACCESS_KEY=s3_password
        ),
    }


def write_secrets(folder: Path) -> bool:
    """Write the files into a new folder that only its owner enters; whether it did, `False` where there is one.

    The files themselves can be read by all: a container's user is another one than their owner, and sees only the
    files that it is given.
    """
    try:
        folder.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        return False
    for name, content in secret_files().items():
        path = folder / name
        path.write_text(content)
        path.chmod(0o444)
    return True


def _lines(**settings: str) -> str:
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def main() -> None:
    """Write them, or say that they are there."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    made = write_secrets(folder)
    sys.stdout.write(f"{folder} {'holds new passwords' if made else 'is there already; nothing was changed'}.\n")


if __name__ == "__main__":
    main()
