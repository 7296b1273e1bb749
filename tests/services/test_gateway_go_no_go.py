"""The gateway's go/no-go matrix: what an order counts as, what a restart keeps, what is waived."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from lob.errors import InvalidInput, NotFound
from lob.types import Side
from services.order_gateway.books import open_books
from services.order_gateway.go_no_go import SHOWN_VALUES_MAX, GoNoGo, shown
from services.order_gateway.metrics import GatewayMetrics
from services.order_gateway.metrics_safety import VerdictMetrics
from services.order_gateway.outcomes import (
    Observers,
    OrderCounts,
    Outcome,
    OutcomeWindow,
    from_json,
    outcome_of,
    refused_outcome,
)
from touchstone.kit.event_store import open_event_store
from touchstone.kit.ledger_entries import Record
from touchstone.perps.checks import Refusal, RefusalReason
from touchstone.perps.orders import Intent, Order, OrderState, OrderType
from touchstone.rollout.go_no_go import Colour, Decision

SYMBOL = "BTC-PERP"
NOW = 1_800_000_000.0
DAY = 86_400.0
MID = Decimal(100_000)


def intent(key: str = "o1", **terms: Any) -> Intent:
    """Return a buy of a thousandth at market."""
    usual: dict[str, Any] = {
        "side": Side.BUY,
        "quantity": Decimal("0.001"),
        "order_type": OrderType.MARKET,
    }
    return Intent(client_order_id=key, symbol=SYMBOL, **(usual | terms))


def order(state: OrderState, key: str = "o1", *, price: str | None = None, **terms: Any) -> Order:
    """Return an order in a state, filled at a price where one is named."""
    made = Order(intent=intent(key, **terms), state=state)
    if price is None:
        return made
    quantity = made.intent.quantity
    return replace(made, filled_quantity=quantity, filled_value=quantity * Decimal(price))


def count(one: Order) -> Outcome:
    """Return what an order counts as."""
    outcome = outcome_of(one, at=NOW, mid=MID, latency_ms=3.0)
    assert outcome is not None
    return outcome


class Clock:
    """A venue's clock that the test moves, in seconds."""

    def __init__(self) -> None:
        self.seconds = NOW

    def now_ns(self) -> int:
        """Return its time."""
        return round(self.seconds * 1e9)


class Store:
    """Events as the event store gives them back."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def note(self, *records: Record) -> None:
        """Keep them under the next numbers."""
        for record in records:
            row = {"sequence": len(self.rows) + 1, "type": record.type}
            self.rows.append({**row, "payload": dict(record.payload)})

    async def load_events(
        self,
        *,
        after: int = 0,
        before: int | None = None,
        limit: int = 100,
        event_type: str | None = None,
        client_order_id: str | None = None,  # noqa: ARG002 - the protocol's
        newest_first: bool = False,
    ) -> list[dict[str, Any]]:
        """Return rows of a type."""
        found = [
            row
            for row in self.rows
            if row["type"] == event_type
            and row["sequence"] > after
            and (before is None or row["sequence"] < before)
        ]
        return (found[::-1] if newest_first else found)[:limit]

    def types(self) -> list[str]:
        """Return the types of what was kept."""
        return [row["type"] for row in self.rows]


@pytest.fixture
def clock() -> Clock:
    """A venue's clock."""
    return Clock()


@pytest.fixture
def store() -> Store:
    """An empty store."""
    return Store()


@pytest.fixture
def make(clock: Clock, store: Store) -> Callable[[], GoNoGo]:
    """Return a maker of gateways' matrices over one store, as restarts make them."""

    def go_no_go() -> GoNoGo:
        metrics = VerdictMetrics(CollectorRegistry())
        return GoNoGo(store.note, lambda _symbol: MID, clock.now_ns, metrics, dwell_seconds=DAY)

    return go_no_go


def test_what_became_of_an_order_is_counted_as_the_plan_has_it() -> None:
    """Filled, our own cancel, an expiry of ours, rejected, lost: each in its rows."""
    filled = count(order(OrderState.FILLED, price="100020"))
    assert (True, False, False) == (filled.filled, filled.own_end, filled.error)
    assert filled.slippage_bps == pytest.approx(2.0)
    cancelled = replace(order(OrderState.CANCELLED), cancel_wanted=True)
    assert (True, False) == (count(cancelled).own_end, count(cancelled).filled)
    assert count(order(OrderState.EXPIRED)).own_end
    assert not count(order(OrderState.CANCELLED)).own_end
    assert count(order(OrderState.MISSING)).error
    crossing: dict[str, Any] = {
        "post_only": True,
        "order_type": OrderType.LIMIT,
        "limit_price": MID,
    }
    rejected = order(OrderState.REJECTED, **crossing)
    rejected = replace(rejected, reason="INVALID_LIMIT_PRICE_POST_ONLY: crosses")
    assert (True, False) == (count(rejected).crossed, count(rejected).error)


def test_slippage_is_signed_and_of_orders_that_trade_when_they_are_decided() -> None:
    """A sale below the mid costs; a stop was decided long before it trades."""
    sold = order(OrderState.FILLED, price="99990", side=Side.SELL)
    assert count(sold).slippage_bps == pytest.approx(1.0)
    bought_lower = order(OrderState.FILLED, price="99950")
    assert count(bought_lower).slippage_bps == pytest.approx(-5.0)
    stop: dict[str, Any] = {
        "order_type": OrderType.STOP_LIMIT,
        "stop_price": MID,
        "limit_price": MID,
    }
    assert count(order(OrderState.FILLED, price="98000", **stop)).slippage_bps is None


@pytest.mark.parametrize(
    ("reason", "crossed", "error"),
    [
        (RefusalReason.POST_ONLY_WOULD_CROSS, True, False),
        (RefusalReason.VENUE_UNAVAILABLE, False, True),
        (RefusalReason.JOURNAL_UNAVAILABLE, False, True),
        (RefusalReason.REDUCE_ONLY, None, None),
        (RefusalReason.DRY_RUN, None, None),
        (RefusalReason.ORDER_NOTIONAL, None, None),
    ],
)
def test_a_refusal_counts_only_where_it_kept_an_order_from_the_venue(
    reason: RefusalReason, crossed: bool | None, error: bool | None
) -> None:
    """A closed gate, a limit and a dry run are no failures."""
    outcome = refused_outcome(intent(post_only=True), reason.value, at=NOW)
    found = (None, None) if outcome is None else (outcome.crossed, outcome.error)
    assert (crossed, error) == found


def test_the_rows_have_the_denominators_of_the_plan() -> None:
    """Our own cancels are no failures; rejects of post-only orders are apart from errors."""
    window = OutcomeWindow()
    window.add(Outcome(at=NOW - DAY - 1, sent=True, error=True))
    for _ in range(8):
        window.add(Outcome(at=NOW - 10, sent=True, filled=True, slippage_bps=2.0, latency_ms=5.0))
    window.add(Outcome(at=NOW - 9, sent=True, own_end=True, post_only=True))
    window.add(Outcome(at=NOW - 8, sent=True, crossed=True, post_only=True))
    window.add(Outcome(at=NOW - 7, sent=False, error=True))
    rows = window.measurements(NOW)
    shares = {name: (row.part, row.n) for name, row in rows.items() if not row.values}
    assert shares["order_success_rate"] == (8, 10)
    assert shares["post_only_rejects"] == (1, 2)
    assert shares["error_rate"] == (1, 11)
    assert (16.0, 8) == (rows["slippage"].total, rows["slippage"].n)
    assert (5.0,) * 8 == rows["system_latency"].values


def test_an_outcome_comes_back_from_its_record_and_a_damaged_one_does_not() -> None:
    """Fields that a later version added are let go."""
    outcome = count(order(OrderState.FILLED, price="100020"))
    assert from_json(outcome.to_json() | {"later": 1}) == outcome
    assert from_json({"sent": True}) is None
    assert from_json({"at": "soon", "sent": True}) is None


def test_an_end_that_the_feed_tells_before_the_answer_waits_for_the_latency(
    make: Callable[[], GoNoGo], store: Store
) -> None:
    """The fill comes first, the answer to the request second: one record, with both."""
    go, filled = make(), order(OrderState.FILLED, price="100010")
    watched = Observers(go, OrderCounts())
    watched.arrived(filled.intent)
    watched.over(filled)
    assert store.types() == []
    watched.answered(filled, 0.004)
    watched.over(filled)
    [row] = store.rows
    assert (4.0, 1.0) == (row["payload"]["latency_ms"], row["payload"]["slippage_bps"])


def test_counts_tell_each_order_once() -> None:
    """However often its end is told; refusals are counted by reason."""
    counts = OrderCounts(monotonic=lambda: 5.0)
    watched, filled = Observers(counts), order(OrderState.FILLED, price="100010")
    watched.answered(filled, 0.001)
    watched.over(filled)
    watched.over(filled)
    watched.refused(intent("o2"), Refusal(RefusalReason.HALTED, "closed"))
    told = counts.to_json()
    assert (1, 1, {"HALTED": 1}) == (told["placed"], told["filled"], told["refused_here"])


def trade(go: GoNoGo, clock: Clock, orders: int, seconds: float) -> None:
    """Fill so many post-only orders within the next seconds, and compare profits once."""
    begun = clock.seconds
    for number in range(orders):
        clock.seconds = begun + seconds * (number + 1) / orders
        terms: dict[str, Any] = {
            "post_only": True,
            "order_type": OrderType.LIMIT,
            "limit_price": MID,
        }
        key = f"{clock.seconds}-{number}"
        one = order(OrderState.FILLED, key, price="100010", **terms)
        go.arrived(one.intent)
        go.answered(one, 0.004)
        go.over(one)
    go.drift(1e-5, clock.seconds)


def a_good_day(go: GoNoGo, clock: Clock) -> None:
    """Trade 4,080 orders in a day of 24 comparisons."""
    for _ in range(24):
        trade(go, clock, 170, DAY / 24)


def test_a_good_day_is_green_and_goes_after_the_dwell(
    make: Callable[[], GoNoGo], clock: Clock
) -> None:
    """4,080 orders make the error rate certain enough; then a day of being clear is asked for."""
    go = make()
    a_good_day(go, clock)
    verdict = go.evaluate()
    assert {Colour.GREEN} == {row.colour for row in verdict.rows}
    assert (Decision.HOLD, ("clear for 0 s of 86400 s",)) == (verdict.decision, verdict.reasons)
    for _ in range(24):
        trade(go, clock, 170, DAY / 24)
        verdict = go.evaluate()
    assert (Decision.GO, ()) == (verdict.decision, verdict.reasons)
    clock.seconds += 3_700
    assert go.evaluate().decision is Decision.HOLD


async def test_a_restart_goes_on_from_the_event_store(
    make: Callable[[], GoNoGo], clock: Clock, store: Store
) -> None:
    """Orders, drifts, waivers and the moment since which all is clear are there again."""
    go = make()
    a_good_day(go, clock)
    for half_hour in range(48):
        at = clock.seconds - (47 - half_hour) * 1_800
        store.note(Record(type="pnl_drift", payload={"at": at, "drift": 1e-5}))
    go.waive("slippage", by="casey", reason="thin market", hours=2)
    first = go.evaluate()
    clock.seconds += 600
    again = make()
    await again.load(store)
    verdict = again.evaluate()
    assert {Colour.GREEN} == {row.colour for row in verdict.rows}
    assert verdict.clear_since == first.clear_since == first.at
    assert ["slippage"] == [waiver.row for waiver in verdict.waivers]
    assert make().evaluate().rows[0].colour is Colour.UNKNOWN


async def test_what_is_older_than_a_day_is_not_read_back(
    make: Callable[[], GoNoGo], clock: Clock, store: Store
) -> None:
    """Reading ends at the first record that is too old; a waiver may be older."""
    go = make()
    go.waive("slippage", by="casey", reason="holiday", hours=72)
    go.over(order(OrderState.FILLED, "old", price="100010"))
    clock.seconds += DAY + 60
    go.over(order(OrderState.FILLED, "new", price="100010"))
    again = make()
    await again.load(store)
    assert again.measurements(clock.seconds)["order_success_rate"].n == 1
    assert len(again.evaluate().waivers) == 1


async def test_a_waiver_that_was_taken_back_stays_so_after_a_restart(
    make: Callable[[], GoNoGo], clock: Clock, store: Store
) -> None:
    """Only rows that exist, only for a while, only what is waived can be taken back."""
    go = make()
    go.waive("slippage", by="casey", reason="thin market", hours=2)
    go.withdraw("slippage")
    with pytest.raises(NotFound, match="a row that is waived"):
        go.withdraw("slippage")
    with pytest.raises(InvalidInput, match="row: 'latency'; allowed: order_success_rate"):
        go.waive("latency", by="casey", reason="r", hours=1)
    with pytest.raises(InvalidInput, match="hours: 0; allowed: above 0"):
        go.waive("slippage", by="casey", reason="r", hours=0)
    clock.seconds += 1
    again = make()
    await again.load(store)
    assert again.evaluate().waivers == ()


def test_a_long_row_is_shown_by_a_sample_of_its_values(
    make: Callable[[], GoNoGo], clock: Clock
) -> None:
    """The count stays the whole one."""
    go = make()
    for number in range(1_000):
        go.window.add(Outcome(at=clock.seconds, sent=True, filled=True, latency_ms=float(number)))
    rows = {row["name"]: row for row in shown(go.evaluate())["rows"]}
    measured = rows["system_latency"]["measurement"]
    assert (1_000, SHOWN_VALUES_MAX) == (measured["n"], len(measured["values"]))
    assert min(measured["values"]) == 0.0


async def test_the_real_journal_and_event_store_keep_it(clock: Clock, tmp_path: Path) -> None:
    """Written through the journal, projected to SQL, read back by the next process."""

    def made(note: Callable[..., None]) -> GoNoGo:
        metrics = VerdictMetrics(CollectorRegistry())
        return GoNoGo(note, lambda _symbol: MID, clock.now_ns, metrics)

    metrics = GatewayMetrics(CollectorRegistry(), [SYMBOL])
    async with (
        open_event_store(None, tmp_path, bot_id="bot", deadline_seconds=5) as store,
        open_books(store, tmp_path / "journal", metrics) as books,
    ):
        go = made(books.ledger.note)
        filled = order(OrderState.FILLED, price="100020")
        go.arrived(filled.intent)
        go.answered(filled, 0.004)
        go.over(filled)
        go.waive("slippage", by="casey", reason="thin market", hours=2)
        verdict = go.evaluate()
    clock.seconds += 60
    async with open_event_store(None, tmp_path, bot_id="bot", deadline_seconds=5) as store:
        again = made(lambda *_records: None)
        await again.load(store)
    rows = again.measurements(clock.seconds)
    assert (1, 1, (4.0,)) == (
        rows["order_success_rate"].n,
        rows["slippage"].n,
        rows["system_latency"].values,
    )
    assert ["slippage"] == [waiver.row for waiver in again.evaluate().waivers]
    assert verdict.decision is Decision.HOLD
