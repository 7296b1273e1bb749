"""Execute a known order at the start and now and then, and compare the answer with the right one.

Two things are asked of the provider of each asset class. What it is: of its kind, with nothing on
but book and queue, it must give the known answer of level L3, which that of L2 is not
(`execution_providers.known_case`). And that it is still what it was: the same order under the
configuration in force must give the fill that a provider gave when the configuration was read.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from execution_providers import ExecutionProvider, create_execution_provider
from execution_providers.known_case import SEED, known_request, why_not
from execution_providers.types import AssetClass, Fill
from lob.config import L3ExecutionConfig, create_l3_config
from lob.errors import Fault
from services.simulator.configured import Configured
from services.simulator.executions import Executions
from services.simulator.metrics import SimulatorMetrics

RETRY_SECONDS_MAX: Final = 5.0
"""How long at most it is until a check that failed is made again."""
LEVEL: Final = "L3"

_LOG: Final = structlog.get_logger("services.simulator")
_Answers = dict[AssetClass, Fill | str]


class SelfCheck:
    """Check the configuration in force.

    `tell(serving)` is called with each result; `check` and `work` are of one event loop.
    """

    def __init__(
        self, executions: Executions, metrics: SimulatorMetrics, interval_seconds: float
    ) -> None:
        self._executions = executions
        self._metrics = metrics
        self._interval_seconds = interval_seconds
        self._expected: tuple[str, _Answers] = ("", {})
        self.why = "not checked yet"
        self.tell: Callable[[bool], Awaitable[None]] | None = None

    async def check(self) -> str:
        """Check once, tell the result, and return why it failed; empty where it passed."""
        under = self._executions.current
        try:
            if self._expected[0] != under.digest:
                answers = await asyncio.to_thread(expected_answers, under)
                self._expected = (under.digest, answers)
            why = await asyncio.to_thread(problem_of, under, self._expected[1])
        except Exception as error:  # noqa: BLE001 - whatever it is, the check has not passed
            why = f"{type(error).__name__}: {error}"
        if why:
            _LOG.error("self_check_failed", why=why, config=under.digest)
        elif self.why:
            _LOG.info("self_check_passed", config=under.digest, before=self.why)
        self.why = why
        self._metrics.count_self_check(passed=not why)
        if self.tell is not None:
            await self.tell(not why)
        return why

    async def work(self) -> None:
        """Check again and again, until cancelled; sooner after a failure."""
        while True:
            seconds = self._interval_seconds
            await asyncio.sleep(min(seconds, RETRY_SECONDS_MAX) if self.why else seconds)
            await self.check()

    async def readiness(self) -> str:
        """Say that the last check passed; raise `Fault` with its reason where it did not."""
        if self.why:
            raise Fault(f"self-check: {self.why}")
        return "passed"


def problem_of(under: Configured, expected: _Answers) -> str:
    """Return what is wrong with the providers of a configuration; empty where nothing is."""
    bare = create_l3_config("minimal")
    for kind, provider in under.providers.items():
        if provider.level != LEVEL:
            return f"{LEVEL} {kind}: the provider is of level {provider.level}"
        alike: Callable[[AssetClass, L3ExecutionConfig], ExecutionProvider] = type(provider)
        why = why_not(alike(kind, bare), LEVEL)
        if why:
            return why
        found, wanted = _answer(provider), expected[kind]
        if found != wanted:
            return f"{LEVEL} {kind}: the known order gave {found}; expected {wanted}"
    return ""


def expected_answers(under: Configured) -> _Answers:
    """Return what providers of a configuration give that were made for this, by asset class."""
    return {
        kind: _answer(create_execution_provider(kind, LEVEL, config=under.config))
        for kind in under.providers
    }


def _answer(provider: ExecutionProvider) -> Fill | str:
    """Return the fill of the known order, or the refusal (of `enabled: false`, for one)."""
    request = known_request(provider.asset_class)
    try:
        fill = provider.execute(request.order, request.market, request.bar, seed=SEED)
    except Fault as fault:
        return f"{fault.code}: {fault}"
    return "nothing" if fill is None else fill
