"""JSON bodies: read within bounds, decoded strictly, refused in the words of Coinbase's parser.

Coinbase reads JSON with protobuf's parser: it names an unknown field and the place where it stands
(`proto: (line 1:192): unknown field "reduceOnly"`), and it never guesses at a value of another
kind. Bodies are msgspec structs, so that decoding costs a few microseconds.
"""

import asyncio
import re
from typing import Any, Final, TypeVar

import msgspec
from fastapi import Request
from fastapi.responses import Response
from starlette.requests import ClientDisconnect

from lob.errors import InvalidInput

BODY_BYTES_MAX: Final = 65_536
BODY_SECONDS_MAX: Final = 10.0
_SHOWN_MAX: Final = 160
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.*?)`( - at `.*`)?", re.DOTALL)
_MISSING: Final = re.compile(r"Object missing required field `(.*?)`( - at `.*`)?", re.DOTALL)
_ENUM: Final = re.compile(r"Invalid enum value '(.*?)' - at `(.*)`", re.DOTALL)
_WRONG: Final = re.compile(r"(.*?) - at `(.*)`", re.DOTALL)

BodyT = TypeVar("BodyT")


class Body(msgspec.Struct, forbid_unknown_fields=True):
    """A JSON object that knows all its fields."""


async def read_bytes(request: Request) -> bytes:
    """Return the body; `InvalidInput` when it is longer than 64 KiB or takes longer than 10 s.

    Where the gate has read it to check a signature over it, it is not read again.
    """
    known: bytes | None = request.scope.get("state", {}).get("body")
    if known is not None:
        return known
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS_MAX):
            async for chunk in request.stream():
                body += chunk
                if len(body) > BODY_BYTES_MAX:
                    raise InvalidInput(f"body: longer than {BODY_BYTES_MAX} bytes")
    except TimeoutError:
        raise InvalidInput(f"body: not complete within {BODY_SECONDS_MAX:g} s") from None
    except ClientDisconnect:
        raise InvalidInput("body: the client left before its end") from None
    request.scope["state"]["body"] = bytes(body)
    return bytes(body)


async def read_body(request: Request, model: type[BodyT]) -> BodyT:
    """Return the JSON body as `model`; raises as `read_bytes` and `decode`."""
    return decode(await read_bytes(request), model)


def decode(body: bytes, model: type[BodyT]) -> BodyT:
    """Return `body` as `model`. O(bytes).

    Raises:
        InvalidInput: not JSON, or a field that is unknown, missing or of the wrong kind.
    """
    try:
        return msgspec.json.decode(body, type=model)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(explain(error, body)) from None


def convert(value: object, model: type[BodyT], body: bytes) -> BodyT:
    """Return a decoded part of `body` as `model`; raises as `decode`."""
    try:
        return msgspec.convert(value, type=model)
    except msgspec.ValidationError as error:
        raise InvalidInput(explain(error, body)) from None


def explain(error: Exception, body: bytes) -> str:
    """Return what is wrong with a body, in one line."""
    said = "nested too deep" if isinstance(error, RecursionError) else str(error)
    if not isinstance(error, msgspec.ValidationError):
        return f"proto: syntax error: {_short(said)}"
    unknown, missing = _UNKNOWN.fullmatch(said), _MISSING.fullmatch(said)
    if unknown is not None:
        return f'proto: {place(unknown[1], body)}unknown field "{_short(unknown[1])}"'
    if missing is not None:
        return f"{_short(missing[1])}: missing"
    enum, wrong = _ENUM.fullmatch(said), _WRONG.fullmatch(said)
    kind, found = ("enum ", enum) if enum is not None else ("", wrong)
    if found is None:
        return f"proto: invalid value for the body: {_short(said)}"
    name = _field(found[2])
    value = f'"{_short(found[1])}"' if kind else _short(found[1])
    return f"proto: {place(name, body)}invalid value for {kind}field {name}: {value}"


def place(name: str, body: bytes) -> str:
    """Return where a field name stands in the body, as `(line 1:192): `; "" where it does not."""
    at = body.find(f'"{name}"'.encode("utf-8", "replace"))
    if at < 0:
        return ""
    line = body.count(b"\n", 0, at) + 1
    column = at - (body.rfind(b"\n", 0, at) + 1) + 1
    return f"(line {line}:{column}): "


def encode(shape: Any) -> bytes:
    """Return an answer as JSON bytes, ready to be sent."""
    return msgspec.json.encode(shape)


def answer(shape: Any) -> Response:
    """Return a shape as the HTTP answer of a request that succeeded."""
    return Response(encode(shape), media_type="application/json")


def _field(path: str) -> str:
    """Return the last name of a path such as `$.funds.value` or `$.order_ids[...]`.

    >>> _field("$.order_ids[...]"), _field("$")
    ('order_ids', 'body')
    """
    names = re.findall(r"[A-Za-z_]\w*", path)
    return names[-1] if names else "body"


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_MAX else text[: _SHOWN_MAX - 3] + "..."
