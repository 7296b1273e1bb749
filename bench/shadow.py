"""Whether shadow comparison can matter to the answers: `./touchstone bench shadow`.

A router process under uvicorn, a real Redis, and load at a constant rate. Blocks with the phase
SHADOW and blocks with the phase OFF alternate, in the order off, shadow, shadow, off, so that what
drifts hits both. Every answer in the shadow phase is compared byte by byte with that of the same
request in the phase OFF, its decision aside.

What shadow costs is measured twice:

- within each block in SHADOW: the p99 of all its requests over that of the requests which were not
  under way while the shadow process computed, or a little before or after (when the router works
  for it). Both are of the same second of the same machine, so that some dozens of blocks will do;
- across phases: the p99 in SHADOW over that of the neighbouring block in OFF. Where nothing else
  moves, this has all that there is; where the machine's own p99 moves, hundreds say little.

The figure is the first, and the second for a block in which the candidate computed most of the
time. It is the geometric mean over blocks, with a bootstrap interval over them.
"""

import asyncio
import contextlib
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
import uvloop

from bench.child_clock import ChildClock
from bench.shadow_candidates import HOSTILE
from bench.shadow_load import Block, Load, request_bodies
from lob.errors import InvalidInput, Unavailable
from touchstone.cli.ports import Ports
from touchstone.kit.lifecycle import die_with_parent
from touchstone.kit.processor_time import computed_seconds
from touchstone.kit.redis_server import running_redis

RATE: Final = 1_000.0
BAR: Final = 1.05
"""The p99 with shadow over the p99 without may be at most this."""
SIMULATOR: Final = "simulator"
GOOD: Final = (SIMULATOR, "l3")
MODULE: Final = "bench.shadow_candidates"
SETTLE_SECONDS: Final = 0.3
RESAMPLES: Final = 2_000
START_SECONDS_MAX: Final = 30.0
READY_SECONDS_MAX: Final = 3.0
"""Less than a server keeps idle connections: the load needs them still."""
_ORDER: Final = ("OFF", "SHADOW", "SHADOW", "OFF")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is measured: `pairs` of blocks for a good candidate, `hostile_pairs` for a bad one."""

    rate: float = RATE
    block_seconds: float = 1.5
    pairs: int = 12
    hostile_pairs: int = 6
    candidates: tuple[str, ...] = (*GOOD, *HOSTILE)


@dataclass(slots=True)
class Arm:
    """One router, and its phase."""

    port: int
    client: httpx.AsyncClient
    load: Load
    pid: int

    async def enter(self, phase: str) -> None:
        """Change the phase; in SHADOW, wait for the shadow process, which a bad one never is."""
        state = (await self.client.get("/v1/rollout")).json()
        response = await self.client.put(
            "/v1/rollout",
            json={"phase": phase, "reason": "bench"},
            headers={"If-Match": f'"{state["generation"]}"'},
        )
        if response.status_code != httpx.codes.OK:
            raise Unavailable(f"router: {response.text}")
        if phase == "SHADOW":
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(READY_SECONDS_MAX):
                    await self._until_ready()

    async def _until_ready(self) -> None:
        while True:
            checks = (await self.client.get("/readyz")).json()["checks"]
            # Before the router has seen the phase it says that there is nothing to be ready.
            if checks["shadow"]["ok"] and checks["shadow"]["detail"].startswith("process"):
                return
            await asyncio.sleep(0.02)

    def measured(self, seconds: float, expected: dict[int, bytes]) -> Block:
        """Return a block of load, with the processor time that the router took for it."""
        before = computed_seconds(self.pid)
        block = self.load.run(seconds, expected)
        block.cpu_seconds = computed_seconds(self.pid) - before
        return block

    async def samples(self, *starts: str) -> dict[str, float]:
        """Return the samples of /metrics whose names begin so."""
        text = (await self.client.get("/metrics")).text
        rows = (row.rsplit(" ", 1) for row in text.splitlines() if row.startswith(starts))
        return {name: float(value) for name, value in rows}


def chosen(names: str) -> tuple[str, ...]:
    """Return the candidates that a text names, with commas between; all of them where it is blank.

    Raises:
        InvalidInput: there is no such candidate.
    """
    known = (*GOOD, *HOSTILE)
    found = tuple(name.strip() for name in names.split(",") if name.strip())
    for name in found:
        if name not in known:
            raise InvalidInput(f"--candidates: {name!r}; allowed: {', '.join(known)}")
    return found or known


def measure(options: Options, home: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Return the document of a run: a minute for a good candidate, seconds for a bad one."""
    return uvloop.run(_measure(options, home, say))


async def _measure(options: Options, home: Path, say: Callable[[str], None]) -> dict[str, Any]:
    found = {}
    with tempfile.TemporaryDirectory(prefix="touchstone-shadow-") as folder:
        for name in options.candidates:
            say(name)
            with running_redis(Path(folder) / name / "redis") as redis:
                async with _router(home, Path(folder) / name, redis.url, name, options) as arm:
                    found[name] = await _candidate(arm, name, options)
    document: dict[str, Any] = {
        "rate_per_second": options.rate,
        "block_seconds": options.block_seconds,
        "bar": BAR,
        "processors": os.cpu_count(),
        "candidates": found,
    }
    bad = [ratio for name, one in found.items() if name in HOSTILE for ratio in one["ratios"]]
    if bad:
        document["hostile"] = summary(bad)
    return document


async def _candidate(arm: Arm, name: str, options: Options) -> dict[str, Any]:
    await arm.enter("OFF")
    arm.load.run(options.block_seconds)
    expected = arm.load.seen
    pairs = options.hostile_pairs if name in HOSTILE else options.pairs
    blocks: dict[str, list[Block]] = {"OFF": [], "SHADOW": []}
    for index in range(2 * pairs):
        phase = _ORDER[index % len(_ORDER)]
        if index % 2 == 0 or phase != _ORDER[(index - 1) % len(_ORDER)]:
            await arm.enter(phase)
        arm.load.run(SETTLE_SECONDS, expected)
        blocks[phase].append(arm.measured(options.block_seconds, expected))
    both = [*blocks["OFF"], *blocks["SHADOW"]]
    across = [
        on.quantile(0.99) / off.quantile(0.99)
        for off, on in zip(blocks["OFF"], blocks["SHADOW"], strict=True)
    ]
    within, shares = zip(*(block.within() for block in blocks["SHADOW"]), strict=True)
    ratios = [other if own is None else own for own, other in zip(within, across, strict=True)]
    return {
        **summary(ratios),
        "ratios": ratios,
        "blocks_across": within.count(None),
        "across_phases": summary(across),
        "under_way_share": statistics.mean(shares),
        "computed_share": statistics.mean(block.computed_share() for block in blocks["SHADOW"]),
        "p99_off_ms": _middle(blocks["OFF"], 0.99),
        "p99_shadow_ms": _middle(blocks["SHADOW"], 0.99),
        "p50_off_ms": _middle(blocks["OFF"], 0.50),
        "p50_shadow_ms": _middle(blocks["SHADOW"], 0.50),
        "router_cpu_off_us": _cpu_us(blocks["OFF"]),
        "router_cpu_shadow_us": _cpu_us(blocks["SHADOW"]),
        "answers": sum(len(block.latencies) for block in both),
        "answers_in_shadow": sum(len(block.latencies) for block in blocks["SHADOW"]),
        "failed": sum(block.failed for block in both),
        "changed": sum(block.changed for block in both),
        "shadow": await arm.samples("shadow_pairs_total", "shadow_dropped_total"),
        "endings": await arm.samples("shadow_process_endings_total"),
        "errors": {
            name: value
            for name, value in (await arm.samples("shadow_errors_total")).items()
            if value
        },
    }


@contextlib.asynccontextmanager
async def _router(
    home: Path, folder: Path, redis_url: str, candidate: str, options: Options
) -> AsyncIterator[Arm]:
    ports = Ports.free()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TOUCHSTONE_")}
    environment |= {
        "TOUCHSTONE_REDIS_URL": redis_url,
        "TOUCHSTONE_DATA_DIR": str(folder / "data"),
        "TOUCHSTONE_ROUTER_PORT": str(ports.router),
        "TOUCHSTONE_ROUTER_LOG_LEVEL": "ERROR",
        "TOUCHSTONE_ROUTER_SIMULATOR_ADDRESS": f"127.0.0.1:{ports.simulator}",
        "TOUCHSTONE_SIMULATOR_PORT": str(ports.simulator),
        "TOUCHSTONE_SIMULATOR_METRICS_PORT": str(ports.simulator_metrics),
        "TOUCHSTONE_SIMULATOR_LOG_LEVEL": "ERROR",
        "AUTO_ROLLBACK_ENABLED": "false",
    }
    started = []
    if candidate == SIMULATOR:
        started.append(_start("services.simulator", home, environment, _least_priority))
    else:
        environment["TOUCHSTONE_ROUTER_SHADOW_CANDIDATE"] = f"{MODULE}:{candidate}"
    process = _start("services.router", home, environment, die_with_parent)
    started.append(process)
    port = ports.router
    load = Load(port, options.rate, request_bodies(), ChildClock(process.pid))
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
            await _started(process, client)
            load.connect()
            yield Arm(port, client, load, process.pid)
            load.close()
    finally:
        for one in started:
            one.terminate()
        for one in started:
            try:
                one.wait(10)
            except subprocess.TimeoutExpired:
                one.kill()
                one.wait()


def _start(
    module: str, home: Path, environment: dict[str, str], prepare: Callable[[], None]
) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(  # noqa: S603 - this interpreter, our modules
        [sys.executable, "-m", module],
        cwd=home,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=prepare,  # noqa: PLW1509 - so that it ends with this process; no threads here
    )


def _least_priority() -> None:
    """Have a simulator on the router's own machine take only what nobody else wants."""
    die_with_parent()
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


async def _started(process: "subprocess.Popen[bytes]", client: httpx.AsyncClient) -> None:
    """Return when the router answers and has a rollout state."""
    async with asyncio.timeout(START_SECONDS_MAX):
        while True:
            if process.poll() is not None:
                raise Unavailable(f"router: ended with code {process.returncode}")
            with contextlib.suppress(httpx.TransportError):
                if (await client.get("/v1/rollout")).json().get("generation"):
                    return
            await asyncio.sleep(0.05)


def summary(ratios: Sequence[float]) -> dict[str, Any]:
    """Return the geometric mean of ratios, its 95 % bootstrap interval, and the bar's verdict."""
    rng = np.random.default_rng(0)
    logs = np.log(ratios)
    means = rng.choice(logs, (RESAMPLES, len(logs))).mean(axis=1)
    low, high = (math.exp(float(np.quantile(means, share))) for share in (0.025, 0.975))
    outcome = "held" if high < BAR else "not held" if low >= BAR else "not decided"
    return {
        "p99_ratio": math.exp(float(logs.mean())),
        "p99_ratio_low": low,
        "p99_ratio_high": high,
        "blocks": len(ratios),
        "outcome": outcome,
    }


def held(document: dict[str, Any]) -> bool:
    """Return whether no answer changed or failed and the bar holds.

    Of hostile candidates all together count.
    """
    candidates = document["candidates"]
    unharmed = all(not one["failed"] and not one["changed"] for one in candidates.values())
    judged = [one for name, one in candidates.items() if name not in HOSTILE]
    judged += [document["hostile"]] if "hostile" in document else []
    return unharmed and all(one["outcome"] == "held" for one in judged)


def lines_of(document: dict[str, Any]) -> list[str]:
    """Return the document as lines of text."""
    rate, bar = document["rate_per_second"], document["bar"]
    head = f"{'candidate':<24}{'ratio':>7}{'95 % interval':>17}{'across phases':>22}{'computed':>9}"
    head += f"{'off ms':>8}{'on ms':>8}{'answers':>9}{'changed':>8}{'failed':>7}{'pairs':>8}"
    head += f"{'off us':>7}{'on us':>7}  outcome"
    lines = [
        f"{rate:,.0f} requests/s, p99 with shadow over p99 without; bar: under {bar}",
        head,
    ]
    lines += [_line(name, one) for name, one in document["candidates"].items()]
    if "hostile" in document:
        lines.append(_line("all hostile together", document["hostile"]))
    return lines


def _line(name: str, one: dict[str, Any]) -> str:
    line = f"{name:<24}{one['p99_ratio']:>7.3f}{_interval(one):>17}"
    if "answers" in one:
        across, pairs = one["across_phases"], one["shadow"].get("shadow_pairs_total", 0.0)
        line += f"{across['p99_ratio']:>7.2f} ({_interval(across)}){one['computed_share']:>9.1%}"
        line += f"{one['p99_off_ms']:>8.2f}{one['p99_shadow_ms']:>8.2f}{one['answers']:>9,}"
        line += f"{one['changed']:>8}{one['failed']:>7}{pairs:>8,.0f}"
        line += f"{one['router_cpu_off_us']:>7.0f}{one['router_cpu_shadow_us']:>7.0f}"
    return f"{line}  {one['outcome']}"


def _interval(one: dict[str, Any]) -> str:
    return f"{one['p99_ratio_low']:.3f}..{one['p99_ratio_high']:.3f}"


def _cpu_us(blocks: Sequence[Block]) -> float:
    """Return the router's processor time for an answer, in microseconds."""
    answers = sum(len(block.latencies) for block in blocks)
    return 1e6 * sum(block.cpu_seconds for block in blocks) / max(1, answers)


def _middle(blocks: Sequence[Block], share: float) -> float:
    return 1_000 * statistics.median(block.quantile(share) for block in blocks)
