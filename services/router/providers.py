"""Every provider behind one async interface: in process, or across the wire."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from execution_providers import AssetClass, ExecutionRequest, Fill, create_execution_provider
from lob.errors import DeadlineExceeded, Fault, InvariantViolation, Overloaded


class Provider(Protocol):
    """Execute a request; raise only faults."""

    async def execute(self, request: ExecutionRequest, seed: int) -> Fill:
        """Return what becomes of the order; the seed makes it reproducible."""
        ...


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
    """

    def __init__(
        self,
        call: Callable[[ExecutionRequest, int], Awaitable[Fill]],
        in_flight_max: int,
        deadline_seconds: float,
    ) -> None:
        self._call = call
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
        if self._in_flight >= self._in_flight_max:
            raise Overloaded(f"L3: {self._in_flight} requests under way; allowed: at most that")
        self._in_flight += 1
        try:
            async with asyncio.timeout(self._deadline_seconds):
                return await self._call(request, seed)
        except Fault:
            raise
        except TimeoutError:
            raise DeadlineExceeded(f"L3: no answer within {self._deadline_seconds} s") from None
        except Exception as error:
            # A defect of the candidate's path is the candidate's failure, never the answer's.
            raise Fault(f"L3: {type(error).__name__}: {error}") from error
        finally:
            self._in_flight -= 1
