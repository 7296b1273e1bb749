"""A real PostgreSQL server for tests, on loopback, which can be killed and started again."""

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from tests.fakes.processes import free_port
from touchstone.kit.event_store_url import database_url

BINARIES = Path("/usr/lib/postgresql/15/bin")


class PostgresqlServer:
    """One server over a folder of its own."""

    def __init__(self) -> None:
        """Make a database; skips where there is no PostgreSQL to run."""
        found = shutil.which("initdb", path=f"{os.environ.get('PATH', '')}:{BINARIES}")
        if found is None:
            pytest.skip(f"no PostgreSQL server on PATH or in {BINARIES}")
        as_root = os.geteuid() == 0
        if as_root and shutil.which("runuser") is None:
            pytest.skip("PostgreSQL does not run as root, and there is no runuser")
        self._as_user = ["runuser", "-u", "postgres", "--"] if as_root else []
        # Not below pytest's folder, which is closed to other users whenever a session begins.
        self._outer = Path(tempfile.mkdtemp(prefix="touchstone-postgresql-"))
        if as_root:
            shutil.chown(self._outer, "postgres")
        self.folder = self._outer / "db"
        self._binary = Path(found).with_name("postgres")
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        options = ["-D", str(self.folder), "-U", "touchstone", "-A", "trust", "--no-sync"]
        done = subprocess.run(
            [*self._as_user, found, *options],
            check=False,
            cwd="/",
            capture_output=True,
            text=True,
            timeout=60,
        )
        if done.returncode:
            pytest.skip(f"initdb failed: {done.stderr.strip()}")

    @property
    def url(self) -> str:
        """The database's URL."""
        return f"postgresql://touchstone@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self._process = subprocess.Popen(
            [
                *self._as_user,
                str(self._binary),
                *("-D", str(self.folder), "-p", str(self.port), "-h", "127.0.0.1"),
                *("-k", str(self._outer), "-c", "fsync=off", "-c", "timezone=UTC"),
            ],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 20
        # A port that is open is no server yet: it may still be recovering.
        while not asyncio.run(_answers(self.url)):
            assert time.monotonic() < deadline, "PostgreSQL did not start"
            time.sleep(0.05)

    def stop(self, *, hard: bool = False) -> None:
        """End the server: in order, or with SIGKILL as a crash would. Idempotent."""
        if self._process is None:
            return
        # The first line of its own file is the server's id; what runs it may be another.
        server = int((self.folder / "postmaster.pid").read_text().split()[0])
        os.kill(server, signal.SIGKILL if hard else signal.SIGINT)
        self._process.wait(timeout=20)
        self._process = None

    def remove(self) -> None:
        """Remove the database; the server has been stopped."""
        shutil.rmtree(self._outer, ignore_errors=True)


@contextmanager
def running_postgresql() -> Iterator[PostgresqlServer]:
    """Run a server until the block ends."""
    server = PostgresqlServer()
    try:
        server.start()
        yield server
    finally:
        server.stop()
        server.remove()


async def _answers(url: str) -> bool:
    try:
        connection = await asyncpg.connect(url, timeout=5)
    except (OSError, asyncpg.PostgresError):
        return False
    await connection.close()
    return True


async def wipe(url: str) -> None:
    """Empty a PostgreSQL database."""
    engine = create_async_engine(database_url(url, Path()))
    async with engine.begin() as connection:
        await connection.execute(text("DROP SCHEMA public CASCADE"))
        await connection.execute(text("CREATE SCHEMA public"))
    await engine.dispose()
