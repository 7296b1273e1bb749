"""Execute a million orders through one simulator process and watch its memory.

The orders come as the router's do, by `ExecuteMany`, of a thousand symbols; one in twenty has a bar
to live in, and half of those wait in the queue. Now and then a session that a generator drives is
opened, moved, executed in and closed, and the configuration is read again. Memory is the process's
resident set, from `/proc`; Linux only. Growth counts from the end of the warm-up, when caches and
heap have filled.
"""

import asyncio
import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc

from bench.router_stack import running_simulator
from execution_providers.types import BarData, ExecutionRequest, MarketState, Order
from lob.errors import Fault, InvalidInput
from touchstone.kit.processor_time import computed_seconds
from touchstone.kit.simulator_client import SimulatorClient
from touchstone.kit.simulator_stream import SimulatorStream
from touchstone.v1 import book_pb2, book_pb2_grpc

Document = dict[str, Any]

GROWTH_MIB_MAX: Final = 16.0
SYMBOLS: Final = 1_000
REQUESTS: Final = 4_096
TOGETHER: Final = 64
CALLERS: Final = 4
SAMPLES: Final = 20
_MIB: Final = 2**20
_SECOND_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Options:
    """How many executions, under which L3 file, and how many of them are warm-up."""

    executions: int = 1_000_000
    config: Path | None = None
    warm_share: float = 0.1

    def __post_init__(self) -> None:
        if self.executions < SAMPLES * TOGETHER:
            raise InvalidInput(
                f"executions: {self.executions}; allowed: {SAMPLES * TOGETHER} or more"
            )
        if not 0 < self.warm_share < 1:
            raise InvalidInput(f"warm_share: {self.warm_share}; allowed: between 0 and 1")


def measure(options: Options, home: Path, tell: Callable[[str], None]) -> Document:
    """Run the soak and return what was answered and what memory did."""
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        config = options.config or home / "configs" / "execution_l3.yaml"
        with running_simulator(
            home,
            Path(folder),
            config.absolute(),
            max_in_flight=2 * CALLERS * TOGETHER,
            inline_seconds_max=0.02,
        ) as (port, process):
            run = _Soak(options, port, process.pid, tell)
            started = time.perf_counter()
            asyncio.run(run.work())
            seconds = time.perf_counter() - started
            return run.document(config, seconds)


def held(document: Document) -> bool:
    """Say whether memory stayed within its bound, and everything was answered by a fill."""
    return bool(document["growth_mib"] < GROWTH_MIB_MAX and not document["faults"])


def lines_of(document: Document) -> list[str]:
    """Return the result in a few lines."""
    answers = ", ".join(f"{name} {count:,}" for name, count in document["answers"].items())
    pace = f"{document['per_second']:,.0f} a second, {document['server_cpu_us']:.0f} us of its CPU"
    began = f"{document['warm_mib']:.1f} MiB after {document['warm_executions']:,}"
    ended = f"{document['end_mib']:.1f} MiB at the end, {document['peak_mib']:.1f} MiB at most"
    growth = f"{document['growth_mib']:+.1f} MiB (bar: below {document['growth_mib_max']:.0f})"
    again = f"files read again: {document['reloads']}"
    return [
        f"{document['executions']:,} executions in {document['seconds']:.0f} s: {pace} each",
        f"answers: {answers}; faults: {document['faults'] or 'none'}",
        f"sessions opened and closed: {document['sessions']}; {again}",
        f"resident: {began}, {ended}; growth {growth}",
    ]


class _Soak:
    """The load, and what is seen of the process meanwhile."""

    def __init__(self, options: Options, port: int, pid: int, tell: Callable[[str], None]) -> None:
        self._options, self._address, self._pid = options, f"127.0.0.1:{port}", pid
        self._tell = tell
        self._requests = _requests()
        self._asked = self._done = 0
        self._answers: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()
        self._samples: list[tuple[int, float]] = []
        self._sessions = self._reloads = 0

    async def work(self) -> None:
        """Send everything; take a sample, a session and a reload at each twentieth."""
        total = self._options.executions
        async with SimulatorClient(self._address, deadline_seconds=60.0) as client:
            stream = SimulatorStream(client)
            for part in range(SAMPLES):
                until = total * (part + 1) // SAMPLES
                await asyncio.gather(*(self._send(stream, until) for _ in range(CALLERS)))
                await self._session(client)
                if part % 5 == 0:
                    os.kill(self._pid, signal.SIGHUP)
                    self._reloads += 1
                self._samples.append((self._done, _resident_mib(self._pid)))
                self._tell(f"{self._done:,} of {total:,}, resident {self._samples[-1][1]:.1f} MiB")
            await stream.close()

    async def _send(self, stream: SimulatorStream, until: int) -> None:
        parts = self._requests
        while self._asked < until:
            at, count = self._asked, min(TOGETHER, until - self._asked)
            self._asked += count
            part = parts[at // TOGETHER % len(parts)][:count]
            answers = await stream.execute_many(part, at)
            for answer in answers:
                if isinstance(answer, Fault):
                    self._faults[f"{answer.code}: {answer}"] += 1
                else:
                    self._answers[str(answer.status)] += 1
            self._done += len(answers)

    async def _session(self, client: SimulatorClient) -> None:
        """Open a driven session, let a minute pass, execute in it, and close it."""
        async with grpc.aio.insecure_channel(self._address) as channel:
            books: Any = book_pb2_grpc.BookServiceStub(channel)  # type: ignore[no-untyped-call]
            source = book_pb2.GeneratorSource(seed=self._sessions)
            asked = book_pb2.OpenSessionRequest(symbol="SOAK", generator=source)
            opened = await books.OpenSession(asked, timeout=30)
            until = book_pb2.AdvanceRequest(
                session_id=opened.session_id, now_ns=opened.now_ns + 60 * _SECOND_NS
            )
            await books.Advance(until, timeout=30)
            order = Order("SOAK", "BUY", 100)  # type: ignore[arg-type]
            request = ExecutionRequest(order, MarketState(0), None, "EQUITY")  # type: ignore[arg-type]
            await client.execute(request, self._sessions, session_id=opened.session_id)
            closing = book_pb2.CloseSessionRequest(session_id=opened.session_id)
            await books.CloseSession(closing, timeout=30)
        self._sessions += 1

    def document(self, config: Path, seconds: float) -> Document:
        """Return what was found."""
        warm_from = self._options.executions * self._options.warm_share
        warm = next(sample for sample in self._samples if sample[0] >= warm_from)
        end = self._samples[-1][1]
        return {
            "executions": self._done,
            "config": config.name,
            "seconds": seconds,
            "per_second": self._done / seconds,
            "server_cpu_us": computed_seconds(self._pid) / self._done * 1e6,
            "answers": dict(sorted(self._answers.items())),
            "faults": dict(self._faults.most_common(20)),
            "sessions": self._sessions,
            "reloads": self._reloads,
            "warm_executions": warm[0],
            "warm_mib": warm[1],
            "end_mib": end,
            "peak_mib": max(mib for _, mib in self._samples),
            "growth_mib": end - warm[1],
            "growth_mib_max": GROWTH_MIB_MAX,
            "samples": [{"executions": done, "resident_mib": mib} for done, mib in self._samples],
        }


def _requests() -> list[list[ExecutionRequest]]:
    """Return different requests, in the portions in which they are sent."""
    found = []
    for number in range(REQUESTS):
        mid = 5_000 + number
        market = MarketState(
            timestamp_ms=1_700_000_000_000 + number,
            bids=[(f"{(mid - step) / 100}", 100 + number % 7 * 50) for step in range(1, 6)],  # type: ignore[arg-type]
            asks=[(f"{(mid + step) / 100}", 100 + number % 5 * 50) for step in range(1, 6)],  # type: ignore[arg-type]
            last_price=f"{mid / 100}",  # type: ignore[arg-type]
            adv_notional=5_000_000,  # type: ignore[arg-type]
            volatility="0.02",  # type: ignore[arg-type]
        )
        price = f"{mid / 100}"
        bar = BarData(price, f"{(mid + 3) / 100}", f"{(mid - 3) / 100}", price, 5_000, 1_000)  # type: ignore[arg-type]
        rests = number % 40 == 0
        order = Order(
            f"S{number % SYMBOLS}",
            "BUY" if number % 2 else "SELL",  # type: ignore[arg-type]
            50 + number % 400,  # type: ignore[arg-type]
            "LIMIT" if rests else "MARKET",  # type: ignore[arg-type]
            f"{(mid + (-1 if number % 2 else 1)) / 100}" if rests else None,  # type: ignore[arg-type]
            client_order_id=f"soak-{number}",
        )
        kind: Any = ("EQUITY", "CRYPTO", "FUTURES")[number % 3]
        found.append(ExecutionRequest(order, market, bar if number % 20 == 0 else None, kind))
    return [found[at : at + TOGETHER] for at in range(0, REQUESTS, TOGETHER)]


def _resident_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / _MIB
