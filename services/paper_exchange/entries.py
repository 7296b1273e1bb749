"""What a journal's record says: what was done, at which moment, and what came of it.

A record is JSON: `[command, now_ns, outcome, fields]`, with the time before the command and what it
came to after it. `Advance` has no fields: time went on.
"""

from typing import Any, Final, NamedTuple

import msgspec

from lob.errors import InvalidInput
from touchstone.exchange.commands import COMMANDS, Command
from touchstone.kit.framing import PAYLOAD_BYTES_MAX

ADVANCE: Final = "Advance"
_ROOM: Final = 256
"""Bytes that a record has beyond its fields, at most."""

_encode: Final = msgspec.json.Encoder().encode
_HEAD: Final = msgspec.json.Decoder(tuple[str, int, int, msgspec.Raw])
_FIELDS: Final[dict[str, msgspec.json.Decoder[Any]]] = {
    command.__name__: msgspec.json.Decoder(command) for command in COMMANDS
}


class Entry(NamedTuple):
    """One record read back; `command` None is an advance."""

    now_ns: int
    outcome: int
    command: Command | None


def encode_command(command: Command) -> bytes:
    """Return the fields of a command as JSON.

    Raises:
        InvalidInput: they cannot be written down (a lone surrogate, say), or are too long.
    """
    try:
        fields = _encode(command)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise InvalidInput(f"request: cannot be kept: {error}") from None
    if len(fields) > PAYLOAD_BYTES_MAX - _ROOM:
        raise InvalidInput(f"request: longer than {PAYLOAD_BYTES_MAX - _ROOM} bytes")
    return fields


def encode_entry(name: str, now_ns: int, outcome: int, fields: bytes = b"null") -> bytes:
    """Return a record's payload."""
    return b'["%b",%d,%d,%b]' % (name.encode(), now_ns, outcome, fields)


def decode_entry(payload: bytes) -> Entry:
    """Return what a record says.

    Raises:
        ValueError: it is of a kind or of a form that this version does not know.
    """
    name, now_ns, outcome, fields = _HEAD.decode(payload)
    if name == ADVANCE:
        return Entry(now_ns, outcome, None)
    if name not in _FIELDS:
        raise ValueError(f"command {name!r}; known: {', '.join(_FIELDS)}")
    return Entry(now_ns, outcome, _FIELDS[name].decode(fields))
