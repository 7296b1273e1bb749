"""The one tree of faults that this project raises on purpose.

A business refusal (an order that a rule turns down) is a value, not an exception. A fault is for
everything else, and `str(fault)` is always one clear line that names the field, the value and what
is allowed. Adapters map `code` to HTTP, gRPC and metric results in one table.
"""
# ruff: noqa: N818 - the names say what happened; "Error" at the end of each would add nothing

from typing import ClassVar


class Fault(Exception):
    """Be the root of every exception raised on purpose.

    `code` is stable and machine-readable; `retryable` says whether the same request may succeed
    later without being changed.
    """

    code: ClassVar[str] = "INTERNAL"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class InvalidInput(Fault):
    """Say that a request is wrong in itself, whatever the state."""

    code = "INVALID_ARGUMENT"


class ConfigError(InvalidInput):
    """Say that a setting or a configuration file is wrong."""

    code = "CONFIG"


class NotFound(Fault):
    """Say that the thing named does not exist (here, or any more)."""

    code = "NOT_FOUND"


class Conflict(Fault):
    """Say that the present state does not allow the request."""

    code = "CONFLICT"


class Unauthenticated(Fault):
    """Say that the caller did not prove who they are."""

    code = "UNAUTHENTICATED"


class PermissionDenied(Fault):
    """Say that the caller is known and may not do this."""

    code = "PERMISSION_DENIED"


class Overloaded(Fault):
    """Say that a bounded queue is full; try again later."""

    code = "OVERLOADED"
    retryable = True


class Unavailable(Fault):
    """Say that something needed cannot be reached at present."""

    code = "UNAVAILABLE"
    retryable = True


class DeadlineExceeded(Fault):
    """Say that an answer did not come in time; its outcome may be unknown."""

    code = "DEADLINE_EXCEEDED"
    retryable = True


class NotSupported(Fault):
    """Say that this version does not do what was asked."""

    code = "UNIMPLEMENTED"


class InvariantViolation(Fault):
    """Say that the program itself is wrong. Nobody handles it; whatever holds the state stops."""

    code = "INTERNAL"
