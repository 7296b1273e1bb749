"""A PostgreSQL server of the drill's own, where one is installed, to be killed and restarted."""

import asyncio
import contextlib
import functools
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Final

from lob.errors import Unavailable
from touchstone.kit.lifecycle import die_with_parent

BINARIES: Final = tuple(f"/usr/lib/postgresql/{version}/bin" for version in range(18, 12, -1))
START_SECONDS_MAX: Final = 20.0


def find_initdb() -> Path | None:
    """Return the program that makes a database, None where there is no PostgreSQL."""
    path = os.pathsep.join([os.environ.get("PATH", ""), *BINARIES])
    found = shutil.which("initdb", path=path)
    if found is None or (os.geteuid() == 0 and shutil.which("runuser") is None):
        return None
    return Path(found)


class Postgresql:
    """One server over a new database below `folder`, on loopback.

    It does not run as root: there it runs as the user `postgres`, who needs a folder of its own.
    """

    def __init__(self, initdb: Path, folder: Path, port: int) -> None:
        self._as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        self.folder, self.port = folder / "database", port
        self._binary = initdb.with_name("postgres")
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True)
        if self._as_user:
            shutil.chown(folder, "postgres")
            # On the way to it, too.
            folder.parent.chmod(0o711)
        options = ["-D", str(self.folder), "-U", "touchstone", "-A", "trust", "--no-sync"]
        done = subprocess.run(  # noqa: S603 - a fixed program with fixed options
            [*self._as_user, str(initdb), *options],
            check=False,
            cwd="/",
            capture_output=True,
            text=True,
            timeout=60,
        )
        if done.returncode:
            raise Unavailable(f"initdb: {done.stderr.strip()[-200:]}")

    @property
    def url(self) -> str:
        """Return the database's URL."""
        return f"postgresql://touchstone@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start the server and return once it takes connections.

        Raises:
            Unavailable: it does not.
        """
        log = self.folder.parent.parent / "postgresql.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - as above
                [
                    *self._as_user,
                    str(self._binary),
                    *("-D", str(self.folder), "-p", str(self.port), "-h", "127.0.0.1"),
                    *("-k", str(self.folder.parent), "-c", "timezone=UTC"),
                ],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=functools.partial(die_with_parent, signal.SIGTERM),  # noqa: PLW1509 - as in redis_server
            )
        deadline = time.monotonic() + START_SECONDS_MAX
        # A port that is open is no server yet: it may still be recovering.
        while not asyncio.run(_answers(self.url)):
            if time.monotonic() > deadline or self._process.poll() is not None:
                told = log.read_text(errors="replace").strip().splitlines() or ["no word"]
                raise Unavailable(f"PostgreSQL does not start: {told[-1]}")
            time.sleep(0.02)

    def kill(self) -> None:
        """End the server with SIGKILL, as a crash does; what it leaves behind ends by itself."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End the server; idempotent."""
        self._end(signal.SIGINT)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            # The first line of its own file is the server's id; what runs it may be another one.
            os.kill(int((self.folder / "postmaster.pid").read_text().split()[0]), number)
        self._process.wait(timeout=20)
        self._process = None


async def _answers(url: str) -> bool:
    import asyncpg  # noqa: PLC0415 - slow to import, and every command would pay

    try:
        connection = await asyncpg.connect(url, timeout=5)
    except (OSError, asyncpg.PostgresError):
        return False
    await connection.close()
    return True
