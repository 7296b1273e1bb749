"""What an aggressor would trade, added up without moving anything (rules 7 and 42)."""

from collections.abc import Iterator

from lob.ladder import Ladder, Shelf
from lob.types import LevelFill, SelfTradePrevention, Walk


def walk_ladder(
    opposite: Ladder,
    quantity_lots: int,
    limit_key: int,
    *,
    participant_id: int,
    stp: SelfTradePrevention,
    pro_rata: bool,
) -> Walk:
    """Add up what the matching rules would trade, up to a key of the ladder.

    O(levels reached); with a self-trade mode and a participant, O(orders reached).
    """
    guarded = stp != SelfTradePrevention.NONE and participant_id != 0
    wanted, cost, worst = quantity_lots, 0, None
    fills: list[LevelFill] = []
    for level in opposite:
        if not wanted or level.key > limit_key:
            break
        if guarded:
            taken, wanted = _guarded(_meetings(level, participant_id, pro_rata), wanted, stp)
        else:
            taken = min(wanted, level.total_lots)
            wanted -= taken
        if taken:
            worst = level.price_ticks
            cost += taken * worst
            fills.append(LevelFill(worst, taken))
    return Walk(sum(fill.quantity_lots for fill in fills), cost, worst, tuple(fills))


def _meetings(level: Shelf, participant_id: int, pro_rata: bool) -> Iterator[tuple[int, bool]]:
    """Yield (lots, whether they are the aggressor's own) in the order that it meets them.

    An own iceberg is met whole, before any refill: it is cancelled, or stops the aggressor.
    """
    displayed = list(level.displayed())
    own_first = [order for order in displayed if order.participant_id == participant_id]
    if pro_rata:
        yield from ((order.leaves, True) for order in own_first)
        yield level.displayed_lots - sum(order.queued for order in own_first), False
    else:
        for order in displayed:
            own = order.participant_id == participant_id
            yield (order.leaves if own else order.queued), own
    hidden = level.hidden.values()
    reserves = level.concealed_lots - sum(order.queued for order in hidden)
    yield reserves - sum(order.reserve for order in own_first), False
    yield from ((order.queued, order.participant_id == participant_id) for order in hidden)


def _guarded(
    meetings: Iterator[tuple[int, bool]], wanted: int, stp: SelfTradePrevention
) -> tuple[int, int]:
    """Return the lots that trade, and what is wanted after that (0: the aggressor has ended)."""
    taken = 0
    for lots, own in meetings:
        if not wanted:
            break
        met = min(wanted, lots)
        if not own:
            taken += met
            wanted -= met
        elif stp == SelfTradePrevention.DECREMENT_AND_CANCEL:
            wanted -= met
        elif stp != SelfTradePrevention.CANCEL_OLDEST:
            wanted = 0
    return taken, wanted
