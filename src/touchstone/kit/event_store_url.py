"""Which database DATABASE_URL means: SQLite in a file, or PostgreSQL."""

from pathlib import Path
from typing import Final

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from lob.errors import ConfigError

SSL_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


def database_url(text: str | None, default_path: Path) -> URL:
    """Return the async database URL that DATABASE_URL, or its absence, means.

    Raises:
        ConfigError: neither a SQLite file nor PostgreSQL, or a parameter that is not known. The
            message never holds the password.
    """
    if not text:
        return make_url(f"sqlite+aiosqlite:///{default_path}")
    try:
        url = make_url(text)
    except ArgumentError:
        raise ConfigError("environment DATABASE_URL: not a database URL") from None
    drivers = {
        "postgres": "postgresql+asyncpg",
        "postgresql": "postgresql+asyncpg",
        "postgresql+asyncpg": "postgresql+asyncpg",
        "sqlite": "sqlite+aiosqlite",
        "sqlite+aiosqlite": "sqlite+aiosqlite",
    }
    if url.drivername not in drivers:
        raise ConfigError(
            f"environment DATABASE_URL: {url.render_as_string(hide_password=True)!r}: "
            "allowed: postgresql://... or sqlite:///...",
        )
    url = url.set(drivername=drivers[url.drivername])
    if url.get_backend_name() == "sqlite":
        if url.database in (None, "", ":memory:"):
            raise ConfigError("environment DATABASE_URL: a journal in memory is none; name a file")
        return url
    return _with_ssl(url)


def _with_ssl(url: URL) -> URL:
    """Return a PostgreSQL URL with `sslmode` under the name that the driver has for it."""
    query = dict(url.query)
    mode = query.pop("sslmode", None)
    if query or (mode is not None and mode not in SSL_MODES):
        raise ConfigError(
            f"environment DATABASE_URL: {url.render_as_string(hide_password=True)!r}: "
            f"allowed after '?': sslmode={'|'.join(SSL_MODES)}",
        )
    return url.set(query={} if mode is None else {"ssl": mode})
