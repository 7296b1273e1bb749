"""Faults as gRPC statuses, by the one table; anything else is INTERNAL and logged."""

from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import Any, Final

import grpc
import structlog

from lob.errors import DeadlineExceeded, Fault
from touchstone.kit.rpc import status_of, trailing_metadata_of
from touchstone.kit.trace import Carried, continued

LOGGER: Final = structlog.get_logger("services.simulator")


@asynccontextmanager
async def answering(context: Any) -> AsyncIterator[None]:
    """End the call with the status of any fault the block raises, within its caller's trace."""
    try:
        with _caller_trace(context):
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


def _caller_trace(context: Any) -> AbstractContextManager[object]:
    # The stream for many has no metadata of its own: each of its requests may be of another trace.
    metadata: Iterable[tuple[str, Any]] = getattr(context, "invocation_metadata", tuple)() or ()
    sent = {key: str(value) for key, value in metadata if key in Carried._fields}
    return continued(Carried(**sent), "gRPC call") if "traceparent" in sent else nullcontext()


def require_time(context: Any) -> None:
    """Raise `DeadlineExceeded` where the caller does not wait any more."""
    left = context.time_remaining()
    if left is not None and left <= 0:
        raise DeadlineExceeded("the deadline passed before the answer was ready")
