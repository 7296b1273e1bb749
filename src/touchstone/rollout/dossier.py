"""The dossier of a rollback: what happened, from what, and what it changed, as one document.

Everything in it is JSON values; `dossier_page` makes the page for people from the same document.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from touchstone.rollout.triggers import TRIGGERS, CountsByTrigger, Reading, Trigger, Trip
from touchstone.rollout.triggers import reading_to_json as _reading_to_json
from touchstone.rollout.windows import WindowSpec, merge, over

VERSION: Final = 1
GRACEFUL_PREFIX: Final = "graceful: "
"""What the reason of a graceful rollback begins with."""
DRAINING_PREFIX: Final = "draining for a graceful rollback: "
TRIGGER_ACTOR: Final = "trigger"
JUDGE_ACTOR: Final = "judge"
ORDERS_SHOWN_MAX: Final = 200


class LiveOrder(NamedTuple):
    """One live execution by L3. `at` is in seconds since 1970; `error` is a fault's code."""

    decision_id: str
    generation: int
    at: float
    symbol: str
    side: str
    quantity: str
    seconds: float
    slippage_bps: float | None
    error: str | None

    def to_json(self) -> dict[str, Any]:
        """Return the order as JSON values."""
        return self._asdict()


def kind_of(actor: str, reason: str) -> str:
    """Return which kind of rollback it was: `automatic`, `graceful` or `emergency`.

    >>> kind_of("trigger", "error_rate: ..."), kind_of("casey", "graceful: month end")
    ('automatic', 'graceful')
    """
    if actor in (TRIGGER_ACTOR, JUDGE_ACTOR):
        return "automatic"
    return "graceful" if reason.startswith(GRACEFUL_PREFIX) else "emergency"


def named_trigger(reason: str) -> Trigger | None:
    """Return the trigger that a rollback's reason begins with; None where it names none."""
    name = reason.partition(":")[0]
    return next((trigger for trigger in TRIGGERS if trigger.name == name), None)


def finding(reading: Reading, trip: Trip | None) -> dict[str, Any]:
    """Return value against limit, of the trip where this process had it, else of a reading."""
    seen = reading if trip is None else trip.reading
    return {
        **_reading_to_json(seen),
        "value_share": seen.share,
        "tolerated_share": seen.trigger.share_max,
        "at": None if trip is None else trip.at,
        "found_here": trip is not None,
    }


def window_rows(trigger: Trigger, counts: Iterable[Mapping[str, int]]) -> list[dict[str, Any]]:
    """Return a trigger's window slot by slot: when, how many, how many above the limit."""
    spec: WindowSpec = trigger.window
    slots: dict[int, list[int]] = {}
    for name, count in merge(counts).items():
        slot, _, bucket = name.partition(":")
        slots.setdefault(int(slot), [0] * spec.buckets)[int(bucket)] += count
    return [
        {
            "at": slot * spec.slot_seconds,
            "samples": sum(found),
            "over": over(spec, tuple(found), trigger.limit),
        }
        for slot, found in sorted(slots.items())
    ]


def windows_to_json(parts: Sequence[CountsByTrigger]) -> list[dict[str, Any]]:
    """Return every trigger's window, over all processes whose counts are in `parts`."""
    return [
        {
            "trigger": trigger.name,
            "limit": trigger.limit,
            "slot_seconds": trigger.window.slot_seconds,
            "slots": window_rows(trigger, [part.get(trigger.name, {}) for part in parts]),
        }
        for trigger in TRIGGERS
    ]


def flag_diff(
    before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> list[dict[str, Any]]:
    """Return what a rollback changed in the document: each key whose value differs.

    >>> flag_diff({"phase": "CANARY", "salt": "x"}, {"phase": "ROLLED_BACK", "salt": "x"})
    [{'key': 'phase', 'before': 'CANARY', 'after': 'ROLLED_BACK'}]
    """
    old, new = before or {}, after or {}
    return [
        {"key": key, "before": old.get(key), "after": new.get(key)}
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key)
    ]


def orders_to_json(orders: Sequence[LiveOrder]) -> dict[str, Any]:
    """Return the affected orders: all counted, the worst and the newest of them shown.

    First those that failed, then by slippage; at most `ORDERS_SHOWN_MAX`.
    """
    ranked = sorted(
        orders,
        key=lambda order: (order.error is None, -(order.slippage_bps or 0.0), -order.at),
    )
    return {
        "count": len(orders),
        "failed": sum(order.error is not None for order in orders),
        "symbols": sorted({order.symbol for order in orders}),
        "shown": [order.to_json() for order in ranked[:ORDERS_SHOWN_MAX]],
    }
