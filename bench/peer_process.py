"""The peers' own environment, and the processes that run in it, spoken to by lines of JSON."""

import json
import subprocess
import threading
from pathlib import Path
from typing import Any, Final, NamedTuple, TextIO

from bench.book_cases import Ready, Sample
from bench.locked_environment import bare_environment, locked_environment
from bench.stream import Touch
from lob.errors import Fault

ANSWER_S_MAX: Final = 600.0


class PeerCase(NamedTuple):
    """One thing a peer is measured at: over at most `limit` messages, in the sizes named."""

    peer: str
    case: str
    kind: str
    limit: int
    sizes: tuple[str, ...] = ("2k", "12k", "220k")

    @property
    def name(self) -> str:
        """Return peer and case in one word."""
        return f"{self.peer} {self.case}"


PEERS: Final = (
    PeerCase("hftbacktest", "exchange_and_local", "feed", 5_000_000, ("2k", "12k")),
    PeerCase("hftbacktest", "local_only", "feed", 5_000_000, ("2k", "12k")),
    # Its queues are searched from their heads: on the large book a prefix is enough.
    PeerCase("hftbacktest", "exchange_and_local", "feed", 300_000, ("220k",)),
    PeerCase("hftbacktest", "local_only", "feed", 1_000_000, ("220k",)),
    PeerCase("nautilus_trader", "apply_deltas_prebuilt", "feed", 1_000_000),
    PeerCase("nautilus_trader", "apply_deltas_with_objects", "feed", 300_000),
    PeerCase("nautilus_trader", "backtest_engine", "feed", 300_000, ("2k", "12k")),
    PeerCase("bourse", "mixed", "commands", 200_000),
    PeerCase("pyorderbook", "mixed", "commands", 50_000),
)


def environment(home: Path, folder: Path) -> Path:
    """Return the Python of the peers' environment, which is made on first use.

    `ConfigError` where it cannot be made.
    """
    lock = home / "bench" / "peers" / "requirements.txt"
    return locked_environment(lock, folder / "peers-venv", "the peers'")


class PeerProcess:
    """One case of one peer, prepared and waiting for rounds. `Fault` where it fails or hangs."""

    def __init__(self, python: Path, home: Path, logs: Path, stream: Path, case: PeerCase) -> None:
        self.case = case
        self._log = logs / f"{case.peer}-{case.case}.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the peers' interpreter, our script
                [
                    *(str(python), "-m", f"bench.peers.{case.peer}"),
                    *("--stream", str(stream), "--case", case.case, "--limit", str(case.limit)),
                ],
                cwd=home,
                env=bare_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.version = ""
        self.messages = 0

    def wait_ready(self) -> None:
        """Wait until the peer has converted the stream and compiled what it compiles."""
        self.version = str(self._answer()["version"])

    def round(self, ready: Ready) -> Sample:
        """Run one round."""
        stdin = self._pipe(self._process.stdin)
        ready()
        try:
            stdin.write("round\n")
            stdin.flush()
        except BrokenPipeError:
            raise self._failure() from None
        answer = self._answer()
        self.messages = int(answer["messages"])
        rate = self.messages / float(answer["seconds"])
        return Sample({"messages_per_second": rate}, Touch(*answer["touch"]))

    def close(self) -> None:
        """End the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _answer(self) -> dict[str, Any]:
        timer = threading.Timer(ANSWER_S_MAX, self._process.kill)
        timer.start()
        try:
            line = self._pipe(self._process.stdout).readline()
        finally:
            timer.cancel()
        if not line:
            raise self._failure()
        return dict(json.loads(line))

    def _pipe(self, pipe: Any) -> TextIO:
        if pipe is None:
            raise self._failure()
        found: TextIO = pipe
        return found

    def _failure(self) -> Fault:
        lines = self._log.read_text("utf-8", errors="replace").strip().splitlines()
        last = lines[-1].strip() if lines else "no message"
        return Fault(f"{self.case.name}: {last}")
