"""Faults as gRPC statuses, by the one table; anything else is INTERNAL and logged."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import grpc
import structlog

from lob.errors import Fault
from touchstone.kit.rpc import FAULT_CODE_KEY, status_of

LOGGER: Final = structlog.get_logger("services.simulator")


@asynccontextmanager
async def answering(context: Any) -> AsyncIterator[None]:
    """End the call with the status of whatever fault the block raises."""
    try:
        yield
    except Fault as fault:
        await context.abort(
            status_of(fault), str(fault), trailing_metadata=((FAULT_CODE_KEY, fault.code),)
        )
    except (grpc.RpcError, grpc.aio.AbortError):
        raise
    except Exception:
        LOGGER.exception("defect")
        await context.abort(grpc.StatusCode.INTERNAL, "internal error; see the simulator's log")
