"""Every provider behind one async interface: in process, or across the wire."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from execution_providers import AssetClass, ExecutionRequest, Fill, create_execution_provider
from lob.errors import DeadlineExceeded, Fault, InvariantViolation, Overloaded

_T = TypeVar("_T")
Call = Callable[[ExecutionRequest, int], Awaitable[Fill]]
CallMany = Callable[[Sequence[ExecutionRequest], int], Awaitable[list[Fill | Fault]]]


class Provider(Protocol):
    """Execute a request; raise only faults."""

    async def execute(self, request: ExecutionRequest, seed: int) -> Fill:
        """Return what becomes of the order; the seed makes it reproducible."""
        ...


async def execute_many(
    provider: Provider, requests: Sequence[ExecutionRequest], seed: int
) -> list[Fill | Fault]:
    """Execute requests together where the provider has `execute_many`, else side by side.

    Its own returns a fill or a fault for each request, in order, and raises nothing.
    """
    many: CallMany | None = getattr(provider, "execute_many", None)
    if many is not None:
        return await many(requests, seed)
    return list(await asyncio.gather(*(_outcome(provider, r, seed) for r in requests)))


async def _outcome(provider: Provider, request: ExecutionRequest, seed: int) -> Fill | Fault:
    try:
        return await provider.execute(request, seed)
    except Fault as fault:
        return fault


class InProcessL2:
    """Answer with L2 in this process, so that a dead simulator never stops answers.

    It takes microseconds, so it is computed inline.
    """

    def __init__(self, seed: int) -> None:
        self._providers = {
            kind: create_execution_provider(kind, level="L2", seed=seed) for kind in AssetClass
        }

    async def execute(self, request: ExecutionRequest, seed: int) -> Fill:
        """Return the fill of L2."""
        provider = self._providers[request.asset_class]
        fill = provider.execute(request.order, request.market, request.bar, seed=seed)
        if fill is None:
            raise InvariantViolation("L2 gave no fill")
        return fill


class BoundedL3:
    """Ask the simulator, with a bound on the requests under way.

    What is beyond the bound is refused at once, and nothing outlasts the deadline.

    Args:
        call: executes one request.
        in_flight_max: how many requests may be under way.
        deadline_seconds: when an answer is waited for no longer.
        call_many: executes several; without it each goes by `call`.
    """

    def __init__(
        self,
        call: Call,
        in_flight_max: int,
        deadline_seconds: float,
        call_many: CallMany | None = None,
    ) -> None:
        self._call = call
        self._call_many = call_many
        self._deadline_seconds = deadline_seconds
        self._in_flight_max = in_flight_max
        self._in_flight = 0

    async def execute(self, request: ExecutionRequest, seed: int) -> Fill:
        """Return the fill of L3.

        Raises:
            Overloaded: too many requests are under way.
            DeadlineExceeded: no answer in time.
            Fault: whatever the simulator answers, or that it does not.
        """
        return await self._bounded(1, lambda: self._call(request, seed))

    async def execute_many(
        self, requests: Sequence[ExecutionRequest], seed: int
    ) -> list[Fill | Fault]:
        """Return the fills of L3, or what `execute` would raise, one by one; raise nothing."""
        many = self._call_many
        if many is None:
            return list(await asyncio.gather(*(_outcome(self, r, seed) for r in requests)))
        try:
            results = await self._bounded(len(requests), lambda: many(requests, seed))
        except Fault as fault:
            return [fault] * len(requests)
        if len(results) != len(requests):
            wrong = Fault(f"L3: {len(results)} results for {len(requests)} requests")
            return [wrong] * len(requests)
        return results

    async def _bounded(self, count: int, call: Callable[[], Awaitable[_T]]) -> _T:
        if self._in_flight + count > self._in_flight_max:
            raise Overloaded(
                f"L3: {self._in_flight} requests under way; allowed: {self._in_flight_max}"
            )
        self._in_flight += count
        try:
            async with asyncio.timeout(self._deadline_seconds):
                return await call()
        except Fault:
            raise
        except TimeoutError:
            raise DeadlineExceeded(f"L3: no answer within {self._deadline_seconds} s") from None
        except Exception as error:
            # A defect of the candidate's path is the candidate's failure, never the answer's.
            raise Fault(f"L3: {type(error).__name__}: {error}") from error
        finally:
            self._in_flight -= count
