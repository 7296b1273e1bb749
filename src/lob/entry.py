"""What must be right of a new order, whatever rests against it (rules 8, 22, 25, 35 and 37)."""

from typing import Final

from lob.faults import is_int64, is_participant
from lob.types import (
    INT64_MAX,
    MAX_ICEBERG_PARTS,
    OrderType,
    RejectReason,
    Submit,
    TimeInForce,
)

PRICED_TYPES: Final = frozenset({OrderType.LIMIT, OrderType.STOP_LIMIT})
STOP_TYPES: Final = frozenset({OrderType.STOP, OrderType.STOP_LIMIT})
_LASTING: Final = frozenset({TimeInForce.GTC, TimeInForce.DAY, TimeInForce.GTD})


def rests_in_book(asked: Submit) -> bool:
    """Say whether what an order cannot trade at once comes to rest."""
    return asked.order_type == OrderType.LIMIT and asked.time_in_force in _LASTING


def field_refusal(asked: Submit, now_ns: int) -> RejectReason | None:  # noqa: PLR0911 - a field each
    """Return the first field that is out of range, in the order of rule 22."""
    if not is_int64(asked.order_id):
        return RejectReason.INVALID_ORDER_ID
    if not is_int64(asked.quantity_lots):
        return RejectReason.INVALID_QUANTITY
    if not _given(asked.price_ticks, asked.order_type in PRICED_TYPES):
        return RejectReason.INVALID_PRICE
    if not _given(asked.stop_ticks, asked.order_type in STOP_TYPES):
        return RejectReason.INVALID_STOP_PRICE
    if not _displays(asked):
        return RejectReason.INVALID_DISPLAY
    if not _expires(asked, now_ns):
        return RejectReason.INVALID_EXPIRY
    return None if is_participant(asked.participant_id) else RejectReason.INVALID_PARTICIPANT_ID


def shows_too_little(display_lots: int, lots: int) -> bool:
    """Say whether an order would show itself in more than `MAX_ICEBERG_PARTS` parts (rule 25).

    `display_lots` 0 shows all at once.
    """
    return 0 < display_lots * MAX_ICEBERG_PARTS < lots


def _given(value: int | None, needed: bool) -> bool:
    """Say whether a number is there where it is needed, and only there."""
    return is_int64(value) if needed else value is None


def _displays(asked: Submit) -> bool:
    shown, lots = asked.display_lots, asked.quantity_lots
    most = 0 if asked.hidden or not is_int64(lots) else lots
    return type(shown) is int and 0 <= shown <= most and not shows_too_little(shown, lots)


def _expires(asked: Submit, now_ns: int) -> bool:
    expire_ns = asked.expire_ns
    if asked.time_in_force != TimeInForce.GTD:
        return expire_ns is None
    return type(expire_ns) is int and now_ns < expire_ns <= INT64_MAX
