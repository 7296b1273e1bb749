"""One table from a fault to what each protocol calls it.

HTTP status, gRPC status name and metric result all come from `OUTCOMES`; a test proves that every
fault class has a row.
"""

import re
from dataclasses import dataclass
from typing import Final

from lob import errors

_FIELD: Final = re.compile(r"([a-z_]\w*(?:\[\d+\])?(?:\.[a-z_]\w*(?:\[\d+\])?)*): ", re.ASCII)
_NAMING: Final = (errors.InvalidInput, errors.NotFound, errors.NotSupported)


class PayloadTooLarge(errors.InvalidInput):
    """Say that a request's body has more bytes than are read."""

    code = "PAYLOAD_TOO_LARGE"


class UnsupportedMediaType(errors.InvalidInput):
    """Say that a request's body is not said to be what is read."""

    code = "UNSUPPORTED_MEDIA_TYPE"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a fault is called on each protocol."""

    http_status: int
    grpc_status: str
    metric_result: str


OUTCOMES: dict[type[errors.Fault], Outcome] = {
    errors.Fault: Outcome(500, "INTERNAL", "error"),
    errors.InvalidInput: Outcome(400, "INVALID_ARGUMENT", "invalid"),
    errors.ConfigError: Outcome(400, "INVALID_ARGUMENT", "invalid"),
    errors.NotFound: Outcome(404, "NOT_FOUND", "not_found"),
    errors.Conflict: Outcome(409, "ABORTED", "conflict"),
    errors.Unauthenticated: Outcome(401, "UNAUTHENTICATED", "denied"),
    errors.PermissionDenied: Outcome(403, "PERMISSION_DENIED", "denied"),
    errors.Overloaded: Outcome(429, "RESOURCE_EXHAUSTED", "overloaded"),
    errors.Unavailable: Outcome(503, "UNAVAILABLE", "unavailable"),
    errors.DeadlineExceeded: Outcome(504, "DEADLINE_EXCEEDED", "deadline"),
    errors.NotSupported: Outcome(501, "UNIMPLEMENTED", "not_supported"),
    errors.InvariantViolation: Outcome(500, "INTERNAL", "error"),
    PayloadTooLarge: Outcome(413, "RESOURCE_EXHAUSTED", "invalid"),
    UnsupportedMediaType: Outcome(415, "INVALID_ARGUMENT", "invalid"),
}


def outcome_of(fault: errors.Fault) -> Outcome:
    """Return the row of the fault's own class, or of its nearest listed ancestor."""
    for cls in type(fault).__mro__:
        if cls in OUTCOMES:
            return OUTCOMES[cls]
    return OUTCOMES[errors.Fault]


def field_of(fault: errors.Fault) -> str:
    """Return the path of the field that a fault's text begins with; empty where it names none.

    >>> field_of(errors.InvalidInput("order.quantity: 0; allowed: above 0"))
    'order.quantity'
    """
    found = _FIELD.match(str(fault)) if isinstance(fault, _NAMING) else None
    return "" if found is None else found[1]


def describe(fault: errors.Fault) -> dict[str, object]:
    """Return the JSON body every HTTP service answers a fault with.

    What UTF-8 cannot hold (half of a surrogate pair, which JSON text can name) is shown escaped.
    """
    return {
        "error": {
            "code": fault.code,
            "message": str(fault).encode(errors="backslashreplace").decode(),
            "retryable": fault.retryable,
        },
    }
