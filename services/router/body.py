"""Read a request's JSON body: bounded in size, exact in its numbers, strict in its keys."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from fastapi import Request

from lob.errors import InvalidInput
from touchstone.kit.codec import decode_json
from touchstone.kit.errors import PayloadTooLarge

BODY_BYTES_MAX: Final = 4 * 1024 * 1024
DEFAULT_REASON: Final = "no reason given"


async def read_json(request: Request, bytes_max: int = BODY_BYTES_MAX) -> Any:
    """Return the decoded body; numbers with a point are Decimal, but 5.0 is 5.

    Raises:
        PayloadTooLarge: the body has more than `bytes_max` bytes.
        InvalidInput: it is no JSON, or has a key twice.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > bytes_max:
            raise PayloadTooLarge(f"body: more than {bytes_max} bytes; allowed: at most that")
    return decode_json(bytes(body), keys_once=True, whole_are_integers=True)


def require_object(body: object, allowed: Iterable[str]) -> dict[str, Any]:
    """Return `body` as an object that has no other keys than `allowed`."""
    allowed = tuple(allowed)
    if not isinstance(body, Mapping):
        raise InvalidInput(f"body: {type(body).__name__}; allowed: an object")
    for key in body:
        if key not in allowed:
            raise InvalidInput(f"{key}: no such key; allowed: {', '.join(allowed)}")
    return dict(body)


def take_text(body: dict[str, Any], name: str, default: str | None = None) -> str:
    """Remove and return a text from `body`; without a default it has to be there."""
    value = body.pop(name, default)
    if not isinstance(value, str) or not value.strip():
        raise InvalidInput(f"{name}: {value!r}; allowed: a text that is not blank")
    return value
