"""The bytes that two books share exactly when they will behave the same.

Little-endian, without padding. A header; then each resting order, bids before asks, by price, then
displayed before hidden, then time; then each waiting stop, BUY lowest stop price first, then SELL
highest first, then time. A word is coded as its place in its enum, an absent number as 0.
"""

from collections.abc import Iterator
from struct import Struct
from typing import Final

from lob.types import BookSnapshot, OrderType, SelfTradePrevention, Side, TimeInForce

MAGIC: Final = b"touchstone-book2"

HEADER: Final = Struct("<16sqqqqqq")
"""Magic, number of bids, of asks, of waiting stops, trades so far, last trade's price, time."""

RESTING: Final = Struct("<qqqqqqqBB")
"""Id, price, leaves, displayed, display, participant, expiry; self-trade mode, flags."""

WAITING: Final = Struct("<qqqqqqqBBBBB")
"""Id, stop, price, quantity, display, participant, expiry; side, type, time in force, self-trade
mode, flags."""

POST_ONLY_FLAG: Final = 1
HIDDEN_FLAG: Final = 2

_SIDE_CODE: Final = {side: code for code, side in enumerate(Side)}
_TYPE_CODE: Final = {order_type: code for code, order_type in enumerate(OrderType)}
_TIF_CODE: Final = {lasts: code for code, lasts in enumerate(TimeInForce)}
_STP_CODE: Final = {mode: code for code, mode in enumerate(SelfTradePrevention)}


def state_hash(snapshot: BookSnapshot) -> str:
    """Return BLAKE2b-128 of the state's bytes, as 32 hex digits. O(orders)."""
    from hashlib import blake2b  # noqa: PLC0415 - OpenSSL takes milliseconds that most never need

    digest = blake2b(digest_size=16)
    for part in _parts(snapshot):
        digest.update(part)
    return digest.hexdigest()


def state_bytes(snapshot: BookSnapshot) -> bytes:
    """Return the bytes that are hashed. O(orders)."""
    return b"".join(_parts(snapshot))


def _parts(snapshot: BookSnapshot) -> Iterator[bytes]:
    bids = sum(order.side == Side.BUY for order in snapshot.orders)
    yield HEADER.pack(
        MAGIC,
        bids,
        len(snapshot.orders) - bids,
        len(snapshot.stops),
        snapshot.trade_sequence,
        snapshot.last_trade_ticks or 0,
        snapshot.now_ns,
    )
    for order in snapshot.orders:
        yield RESTING.pack(
            order.order_id,
            order.price_ticks,
            order.leaves,
            order.displayed_lots,
            order.display_lots,
            order.participant_id,
            order.expire_ns or 0,
            _STP_CODE[order.stp],
            (POST_ONLY_FLAG if order.post_only else 0) | (HIDDEN_FLAG if order.hidden else 0),
        )
    for stop in snapshot.stops:
        yield WAITING.pack(
            stop.order_id,
            stop.stop_ticks,
            stop.price_ticks or 0,
            stop.quantity_lots,
            stop.display_lots,
            stop.participant_id,
            stop.expire_ns or 0,
            _SIDE_CODE[stop.side],
            _TYPE_CODE[stop.order_type],
            _TIF_CODE[stop.time_in_force],
            _STP_CODE[stop.stp],
            HIDDEN_FLAG if stop.hidden else 0,
        )
