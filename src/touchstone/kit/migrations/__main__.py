"""Migrate an event store by hand: `python -m touchstone.kit.migrations up|down|current`."""

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from lob.errors import Fault
from touchstone.kit import migrations
from touchstone.kit.event_store import migrating
from touchstone.kit.event_store_url import database_url


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one step and return the exit code: 0 done, 1 not done."""
    parser = argparse.ArgumentParser(
        prog="python -m touchstone.kit.migrations", description=__doc__
    )
    parser.add_argument("--database-url", default=os.environ.get("DATABASE_URL"))
    parser.add_argument(
        "--data-dir",
        type=Path,
        default=Path(os.environ.get("TOUCHSTONE_DATA_DIR", ".touchstone")),
        help="where gateway/events.db is, if there is no database URL",
    )
    steps = parser.add_subparsers(dest="step", required=True)
    up = steps.add_parser("up", help="bring the schema up to a revision")
    up.add_argument("revision", nargs="?", default=migrations.HEAD)
    down = steps.add_parser("down", help="take the schema down to a revision, or to 'base'")
    down.add_argument("revision")
    steps.add_parser("current", help="print the schema's revision and the newest")
    given = parser.parse_args(arguments)

    def work(connection: Connection) -> str:
        if given.step == "up":
            migrations.upgrade(connection, given.revision)
        elif given.step == "down":
            migrations.downgrade(connection, given.revision)
        return f"{migrations.current(connection) or 'base'} (newest: {migrations.NEWEST})"

    try:
        url = database_url(given.database_url, given.data_dir / "gateway" / "events.db")
        said = asyncio.run(_run(url, work))
    except (Fault, SQLAlchemyError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{said}\n")
    return 0


async def _run(url: URL, work: Callable[[Connection], str]) -> str:
    async with migrating(url) as connection:
        return await connection.run_sync(work)


if __name__ == "__main__":
    sys.exit(main())
