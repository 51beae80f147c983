"""Where the Prefect server keeps its runs: a PostgreSQL URL as people write it, and as Prefect wants it.

Imports neither Prefect nor a database driver.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from models.errors import PermanentError

SQLITE_WARNING = (
    "Runs are kept in SQLite, which refuses some requests when many come at once: good for jobs one by one, not for "
    "backfills of hundreds of videos or many workers. For those set REELMILL_DATABASE_URL, or give --database, with "
    "postgresql://USER:PASSWORD@HOST/NAME."
)

_DRIVERS = {
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
}


class DatabaseUrlError(PermanentError):
    """The database's URL is none that Prefect's server can use."""


class DatabaseSettings(BaseSettings):
    """The Prefect server's database."""

    database_url: SecretStr | None = Field(default=None, validation_alias="REELMILL_DATABASE_URL")
    """A PostgreSQL URL; SQLite in the server's home where unset. Workers are not given it."""


def chosen_database(option: str | None) -> str | None:
    """The URL for Prefect's server: `option`, else the one of the settings, else `None` for SQLite in the home.

    Raises `DatabaseUrlError`, whose message repeats no password.
    """
    kept = DatabaseSettings().database_url
    url = option or (kept.get_secret_value() if kept else "")
    return for_prefect(url) if url else None


def for_prefect(url: str) -> str:
    """The same URL with the driver that Prefect uses; pure. Raises `DatabaseUrlError`."""
    scheme, mark, rest = url.partition("://")
    driver = _DRIVERS.get(scheme.lower())
    if not mark or driver is None:
        raise DatabaseUrlError(
            "the database's URL is not one of PostgreSQL; give postgresql://USER:PASSWORD@HOST/NAME in "
            "REELMILL_DATABASE_URL or --database."
        )
    return f"{driver}://{rest}"


def shown_database(url: str | None) -> str:
    """The database for people to read: never a user or a password; pure."""
    if url is None:
        return "SQLite"
    parts = urlsplit(url)
    kind = "PostgreSQL" if parts.scheme.startswith("postgresql") else "SQLite"
    place = f"{parts.netloc.rpartition('@')[2]}{parts.path}"
    return f"{kind} at {place}" if place else kind
