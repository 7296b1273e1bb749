"""Numbers that are in range, and what a feed says that cannot be true (rule 38)."""

from typing import Any, Final, TypeGuard

from lob.errors import Conflict, Fault, InvalidInput, NotFound
from lob.types import (
    INT64_MAX,
    MAX_ICEBERG_PARTS,
    OrderType,
    RejectReason,
    SelfTradePrevention,
    TimeInForce,
)

_WORDS: Final[dict[str, dict[str, Any]]] = {
    "order_type": {word.value: word for word in OrderType},
    "time_in_force": {word.value: word for word in TimeInForce},
    "stp": {word.value: word for word in SelfTradePrevention},
}


def is_int64(value: object) -> TypeGuard[int]:
    """Say whether a value is a real int in 1..2^63-1 (a bool is not)."""
    return type(value) is int and 0 < value <= INT64_MAX


def is_participant(value: object) -> TypeGuard[int]:
    """Say whether a value names a participant, or nobody (0)."""
    return type(value) is int and 0 <= value <= INT64_MAX


def require_int64(name: str, value: object) -> None:
    """Raise `InvalidInput` unless `is_int64`."""
    if not is_int64(value):
        raise InvalidInput(f"{name}: {value!r}; allowed: a whole number, 1..{INT64_MAX}")


def require_whole(name: str, value: object) -> None:
    """Raise `InvalidInput` for what is no int; one that is out of every range is one."""
    if type(value) is not int:
        raise InvalidInput(f"{name}: {value!r}; allowed: a whole number, 1..{INT64_MAX}")


def require_word(name: str, word: object) -> Any:
    """Return the enum's member of an order type, time in force or self-trade mode.

    Raises `InvalidInput` for any other word: it must not be taken for another one.
    """
    members = _WORDS[name]
    found = members.get(word) if isinstance(word, str) else None
    if found is None:
        raise InvalidInput(f"{name}: {word!r}; allowed: {', '.join(members)}")
    return found


_FIELDS: Final = {
    RejectReason.INVALID_ORDER_ID: ("order_id", "1"),
    RejectReason.INVALID_QUANTITY: ("quantity_lots", "1"),
    RejectReason.INVALID_PRICE: ("price_ticks", "1"),
    RejectReason.INVALID_PARTICIPANT_ID: ("participant_id", "0"),
}


def feed_fault(
    reason: RejectReason,
    order_id: object,
    *,
    price_ticks: object = 0,
    quantity_lots: object = 0,
    participant_id: object = 0,
) -> Fault:
    """Return the fault for a feed message that cannot be true, with the field that shows it."""
    if reason in _FIELDS:
        given = {
            "order_id": order_id,
            "price_ticks": price_ticks,
            "quantity_lots": quantity_lots,
            "participant_id": participant_id,
        }
        name, low = _FIELDS[reason]
        text = f"{name}: {given[name]!r}; allowed: a whole number, {low}..{INT64_MAX}"
        return InvalidInput(text)
    if reason == RejectReason.UNKNOWN_ORDER:
        return NotFound(f"order_id: {order_id} does not rest in the book")
    if reason == RejectReason.DUPLICATE_ORDER_ID:
        return Conflict(f"order_id: {order_id} is live already; allowed: an id that is not")
    if reason == RejectReason.MORE_THAN_LEAVES:
        return Conflict(f"quantity_lots: {quantity_lots} off order {order_id}; it has fewer")
    if reason == RejectReason.INVALID_DISPLAY:
        parts = f"it would show itself in more than {MAX_ICEBERG_PARTS} parts"
        return Conflict(f"quantity_lots: {quantity_lots} of iceberg {order_id}; {parts}")
    return Conflict(f"quantity_lots: {quantity_lots} takes the level beyond {INT64_MAX}")
