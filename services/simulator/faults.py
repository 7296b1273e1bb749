"""Faults as gRPC statuses, by the one table; anything else is INTERNAL and logged."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import grpc
import structlog

from lob.errors import DeadlineExceeded, Fault
from touchstone.kit.rpc import status_of, trailing_metadata_of

LOGGER: Final = structlog.get_logger("services.simulator")


@asynccontextmanager
async def answering(context: Any) -> AsyncIterator[None]:
    """End the call with the status of whatever fault the block raises."""
    try:
        yield
    except Fault as fault:
        await context.abort(
            status_of(fault), str(fault), trailing_metadata=trailing_metadata_of(fault)
        )
    except (grpc.RpcError, grpc.aio.AbortError):
        raise
    except Exception:
        LOGGER.exception("defect")
        await context.abort(grpc.StatusCode.INTERNAL, "internal error; see the simulator's log")


def require_time(context: Any) -> None:
    """Raise `DeadlineExceeded` where the caller does not wait any more."""
    left = context.time_remaining()
    if left is not None and left <= 0:
        raise DeadlineExceeded("the deadline passed before the answer was ready")
