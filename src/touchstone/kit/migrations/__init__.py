"""Bring an event store's schema to a version, up or down, one process at a time.

The versions are alembic's, under `versions`; `touchstone.kit.event_store_schema` is what the newest
one comes to (a test compares them). `python -m touchstone.kit.migrations` does it by hand.

Alembic is imported where a schema has to be changed: a restart does not wait for it.
"""

from typing import Final

from sqlalchemy import Connection, inspect, text

HEAD: Final = "head"
NEWEST: Final = "0002"
"""The revision that this build needs."""
BEFORE_ALEMBIC: Final = "0001"
"""What databases had that were made before versions were counted."""

_LOCK: Final = 0x70_75_63_68  # any number that no other software of this database uses


def upgrade(connection: Connection, revision: str = HEAD) -> None:
    """Bring the schema up to a revision, within the connection's transaction.

    The connection's own timeouts bound how long it waits for another process that migrates.

    Raises:
        ConfigError: the schema is of a version that this build does not know.
    """
    _lock(connection)
    if revision in (HEAD, NEWEST) and current(connection) == NEWEST:
        return
    from touchstone.kit.migrations.steps import go_up  # noqa: PLC0415 - see above

    go_up(connection, revision)


def downgrade(connection: Connection, revision: str) -> None:
    """Take the schema down to a revision; what only later ones can hold is lost.

    Raises:
        ConfigError: no such revision, or the rows cannot stand in the older tables.
    """
    from touchstone.kit.migrations.steps import go_down  # noqa: PLC0415 - see above

    _lock(connection)
    go_down(connection, revision)


def current(connection: Connection) -> str | None:
    """Return the schema's revision, None where there is none yet."""
    tables = inspect(connection)
    if tables.has_table("alembic_version"):
        found = connection.execute(text("SELECT version_num FROM alembic_version"))
        return found.scalar_one_or_none()
    return BEFORE_ALEMBIC if tables.has_table("schema_versions") else None


def _lock(connection: Connection) -> None:
    """Keep every other process from migrating until this transaction ends."""
    if connection.dialect.name == "sqlite":
        # The driver begins a transaction by itself only before it writes rows.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
