"""Run the candidate on one order, and whatever it does, have an outcome."""

import asyncio
import contextlib
import inspect
import time
from decimal import Decimal
from typing import Any, Final

from execution_providers import AssetClass, ExecutionRequest, Fill, create_execution_provider
from lob.errors import DeadlineExceeded, Fault
from services.router.shadow_frames import GARBAGE, Garbage, Outcome, outcome_message
from touchstone.kit.codec import request_bytes
from touchstone.rollout import decisions

REPEAT_EVERY: Final = 8
"""One order in so many is also executed by the control under another seed: the noise floor."""
_ANOTHER_SEED: Final = 0x5DEECE66D
_SEED_MAX: Final = 2**63 - 1


class ControlAgain:
    """Execute with the control under another seed than the answer's."""

    def __init__(self, every: int = REPEAT_EVERY) -> None:
        self.every = every
        self._providers = {
            kind: create_execution_provider(kind, level="L2", seed=0) for kind in AssetClass
        }

    def execute(self, request: ExecutionRequest, seed: int) -> Fill | None:
        """Return the control's fill of an order that was answered under `seed`."""
        provider = self._providers[request.asset_class]
        another = (seed ^ _ANOTHER_SEED) & _SEED_MAX
        with contextlib.suppress(Fault):
            return provider.execute(request.order, request.market, request.bar, seed=another)
        return None


async def run_candidate(
    candidate: Any,
    request: ExecutionRequest,
    seed: int,
    *,
    digest: str,
    deadline_seconds: float,
    repeat: Fill | None = None,
) -> Outcome:
    """Return what the candidate makes of an order, or the code of what it did wrong instead.

    The candidate has `execute(request, seed)`, which returns a fill or an awaitable of one.
    `digest` is of the request's JSON.
    """
    fill: Fill | None = None
    error: str | None = None
    started = time.perf_counter()
    try:
        async with asyncio.timeout(deadline_seconds):
            found = candidate.execute(request, seed)
            fill = await found if inspect.isawaitable(found) else found
    except TimeoutError:
        error = DeadlineExceeded.code
    except Fault as fault:
        error = fault.code
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        error = Fault.code
    except BaseException as defect:
        if isinstance(defect, GeneratorExit):
            raise
        error = Fault.code
    seconds = time.perf_counter() - started
    return Outcome(None if error else fill, error, seconds, digest, repeat)


def frame_of(number: int, outcome: Outcome, quantity: Decimal) -> bytes:
    """Return the frame of an outcome; what is no fill of such an order is an error of its own."""
    try:
        return outcome_message(number, outcome, quantity)
    except (Garbage, MemoryError):
        wrong = Outcome(None, GARBAGE, outcome.seconds, outcome.digest)
        return outcome_message(number, wrong, quantity)


def inputs_digest(request: ExecutionRequest) -> str:
    """Return the digest of a request that the decision log has too: of its JSON as it came."""
    return digest_of(request_bytes(request))


def digest_of(encoded: bytes) -> str:
    """Return the digest of a request's JSON."""
    return decisions.inputs_digest(decisions.one_line(encoded))
