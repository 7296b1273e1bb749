"""The adapter against a real paper exchange: every order type, fills, positions, feed, probe."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from lob.types import Side, TimeInForce
from services.order_gateway.market import Quotes
from services.order_gateway.metrics import VenueMetrics
from services.order_gateway.venues.base import Accepted, Passage, Rejected, VenueReport
from services.order_gateway.venues.coinbase_auth import ApiKeySigner
from services.order_gateway.venues.coinbase_rest import CoinbaseRest
from services.order_gateway.venues.coinbase_ws import CoinbaseFeed, FeedOwner
from services.order_gateway.venues.pacing import Pacer
from services.order_gateway.venues.probe import Probe
from services.order_gateway.venues.venue_clock import VenueClock
from services.order_gateway.venues.wire import HttpWire
from tests.services.paper_exchange import RunningExchange, running_exchange, write_ed25519_key
from touchstone.kit.leases import SendGate
from touchstone.perps.capabilities import Capability, Finding, Probed, effective, is_usable
from touchstone.perps.orders import Attached, Intent, OrderType, VenueStatus
from touchstone.perps.products import ProductRules

Eventually = Callable[..., Awaitable[float]]
CDE = {"BTC-PERP": "BIP-20DEC30-CDE", "ETH-PERP": "ETP-20DEC30-CDE"}
INTX = {"BTC-PERP": "BTC-PERP-INTX", "ETH-PERP": "ETH-PERP-INTX"}
BTC = "BTC-PERP"
HOUR_NS = 3_600_000_000_000
C = Capability


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningExchange]:
    """A paper exchange with an Ed25519 key beside its own."""
    folder = tmp_path_factory.mktemp("exchange")
    write_ed25519_key(folder / "exchange" / "keys", "ed", account="ed")
    with running_exchange(
        folder, rate_limit_per_second=1_000, durable=False, user_positions=True
    ) as running:
        yield running


class Desk:
    """An adapter and a feed of one account, and what they told."""

    def __init__(self, exchange: RunningExchange, symbols: Mapping[str, str], key: Path) -> None:
        self.metrics = VenueMetrics(CollectorRegistry())
        signer = ApiKeySigner(key, lifetime_seconds=30)
        self.clock = VenueClock()
        self.rest = CoinbaseRest(
            HttpWire(f"http://{exchange.host}"), signer, symbols, self.metrics, clock=self.clock
        )
        self.quotes = Quotes(venue_now_ns=self.clock.now_ns)
        self.reports: list[VenueReport] = []
        self.resyncs = 0
        self.rules: Mapping[str, ProductRules] = {}
        owner = FeedOwner(self.reports.append, self._resync, self.rest.rules_for_product)
        self.feed = CoinbaseFeed(
            f"ws://{exchange.host}",
            signer,
            list(symbols.values()),
            self.quotes,
            owner,
            self.metrics,
            clock=self.clock,
        )

    def _resync(self) -> None:
        self.resyncs += 1

    def intent(self, **terms: Any) -> Intent:
        """Return a small order that rests far below the market, with `terms` changed."""
        bid = self.bid()
        rules = self.rules[BTC]
        price = rules.round_price(bid * Decimal("0.95"), Side.BUY)
        usual: dict[str, Any] = {
            "client_order_id": f"t-{secrets.token_hex(6)}",
            "symbol": BTC,
            "side": Side.BUY,
            "quantity": max(rules.size_increment, Decimal("0.001")),
            "order_type": OrderType.LIMIT,
            "limit_price": price,
        }
        return Intent(**usual | terms)

    def bid(self) -> Decimal:
        """Return the best bid."""
        quote = self.quotes.quote(BTC)
        assert quote is not None
        assert quote.bid is not None
        return quote.bid

    async def submit(self, intent: Intent) -> Accepted | Rejected:
        """Send an order."""
        rules = self.rules[intent.symbol]
        return await self.rest.submit(intent, rules, Passage(SendGate(), lambda: None))

    async def place(self, **terms: Any) -> VenueReport:
        """Place an order and return it as the venue has it."""
        made = await self.submit(self.intent(**terms))
        assert isinstance(made, Accepted), made
        report = await self.rest.order(made.venue_order_id)
        assert report is not None
        return report


@contextlib.asynccontextmanager
async def trading(
    exchange: RunningExchange,
    symbols: Mapping[str, str],
    eventually: Eventually,
    key: Path | None = None,
) -> AsyncIterator[Desk]:
    """A desk that knows the rules and follows the feed."""
    desk = Desk(exchange, symbols, key or exchange.key_file)
    desk.rules = await desk.rest.rules()
    task = asyncio.create_task(desk.feed.run())
    try:
        await eventually(lambda: desk.resyncs and desk.quotes.mark(BTC) is not None)
        yield desk
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await desk.rest.close()


@pytest.fixture(params=[CDE, INTX], ids=["CDE", "INTX"])
async def desk(
    request: pytest.FixtureRequest, exchange: RunningExchange, eventually: Eventually
) -> AsyncIterator[Desk]:
    """A desk on either family."""
    async with trading(exchange, request.param, eventually) as made:
        yield made


async def test_every_order_type_is_taken_and_reported_as_asked(desk: Desk) -> None:
    """Each configuration comes back with its own terms, in coins; cancels end what rests."""
    price = desk.intent().limit_price
    assert price is not None
    now_ns = desk.clock.now_ns()
    assert now_ns is not None
    up = desk.rules[BTC].round_price(desk.bid() * Decimal("1.05"), Side.SELL)
    limit: dict[str, Any] = {"limit_price": price}
    asked: list[dict[str, Any]] = [
        {**limit, "time_in_force": TimeInForce.GTC, "post_only": True},
        {**limit, "time_in_force": TimeInForce.GTD, "expires_at_ns": now_ns + HOUR_NS},
        {
            "order_type": OrderType.STOP_LIMIT,
            "limit_price": up,
            "stop_price": up,
            "time_in_force": TimeInForce.GTC,
        },
        {
            "order_type": OrderType.STOP_LIMIT,
            "limit_price": up,
            "stop_price": up,
            "time_in_force": TimeInForce.GTD,
            "expires_at_ns": now_ns + HOUR_NS,
        },
    ]
    resting = []
    for terms in asked:
        report = await desk.place(**terms)
        told = (report.order_type, report.time_in_force, report.limit_price, report.stop_price)
        kind = terms.get("order_type", OrderType.LIMIT)
        meant = (kind, terms["time_in_force"], terms["limit_price"], terms.get("stop_price"))
        assert meant == told
        assert (VenueStatus.LIVE, desk.intent().quantity) == (report.status, report.quantity)
        resting.append(report.venue_order_id)
    for time_in_force in (TimeInForce.IOC, TimeInForce.FOK):
        report = await desk.place(**limit, time_in_force=time_in_force)
        assert (VenueStatus.CANCELLED, time_in_force) == (report.status, report.time_in_force)
    working = await desk.rest.orders(BTC, working_only=True)
    assert set(resting) <= {report.venue_order_id for report in working}
    assert dict.fromkeys(resting, "") == dict(await desk.rest.cancel(resting))
    assert {"nobody": "UNKNOWN_CANCEL_ORDER"} == dict(await desk.rest.cancel(["nobody"]))
    for venue_order_id in resting:
        report_or_none = await desk.rest.order(venue_order_id)
        assert report_or_none is not None
        assert VenueStatus.CANCELLED is report_or_none.status
    assert await desk.rest.order("nobody") is None


async def test_fills_position_and_brackets(desk: Desk, eventually: Eventually) -> None:
    """An entry with an attached exit fills; its child, a bracket and a close are the venue's."""
    rules = desk.rules[BTC]
    far = {
        "take_profit_price": rules.round_price(desk.bid() * Decimal("1.06"), Side.SELL),
        "stop_price": rules.round_price(desk.bid() * Decimal("0.92"), Side.BUY),
    }
    market: dict[str, Any] = {
        "order_type": OrderType.MARKET,
        "time_in_force": TimeInForce.IOC,
        "limit_price": None,
    }
    intent = desk.intent(attached=Attached(**far), **market)
    made = await desk.submit(intent)
    assert isinstance(made, Accepted), made
    assert made.attached_order_id
    assert made == await desk.submit(intent), "the same id again is the same order"
    fills = await desk.rest.fills_of([made.venue_order_id])
    assert intent.quantity == sum(fill.quantity for fill in fills)
    other = await desk.submit(desk.intent(**market))
    assert isinstance(other, Accepted)
    both = await desk.rest.fills_of([made.venue_order_id, other.venue_order_id])
    assert 2 * intent.quantity == sum(fill.quantity for fill in both)
    assert {made.venue_order_id, other.venue_order_id} == {fill.venue_order_id for fill in both}

    child = await desk.rest.order(made.attached_order_id)
    assert child is not None
    assert (OrderType.BRACKET, Side.SELL) == (child.order_type, child.side)
    assert tuple(far.values()) == (child.limit_price, child.stop_price)
    assert made.venue_order_id == child.originating_order_id
    held = (await desk.rest.positions())[BTC]
    assert 2 * intent.quantity == held.quantity
    assert held.mark_price is not None
    assert "" == (await desk.rest.cancel([made.attached_order_id]))[made.attached_order_id]
    bracket = await desk.submit(
        desk.intent(
            side=Side.SELL,
            order_type=OrderType.BRACKET,
            limit_price=far["take_profit_price"],
            stop_price=far["stop_price"],
            reduce_only=True,
        )
    )
    assert isinstance(bracket, Accepted), bracket
    await desk.rest.cancel([bracket.venue_order_id])
    over = desk.intent(side=Side.SELL, quantity=held.quantity * 2, reduce_only=True, **market)
    assert isinstance(await desk.submit(over), Rejected), "the flag reaches the venue"
    await desk.submit(desk.intent(side=Side.SELL, quantity=held.quantity, **market))
    assert BTC not in await desk.rest.positions()
    await eventually(lambda: any(r.venue_order_id == other.venue_order_id for r in desk.reports))


async def test_the_feed_tells_market_and_orders(desk: Desk, eventually: Eventually) -> None:
    """Books as REST has them, depth, trades and volume, the venue's time, our orders."""
    book = await desk.rest.get("/product_book", [("product_id", desk.rules[BTC].product_id)])
    assert abs(Decimal(book["mid_market"]) / (desk.quotes.mark(BTC) or 1) - 1) < Decimal("0.002")
    for side in Side:
        depth = desk.quotes.depth(BTC, side)
        assert depth is not None
        assert 0 < depth.l1 <= depth.l10
    await eventually(lambda: desk.quotes.last_trade(BTC) is not None)
    await eventually(lambda: (desk.quotes.volume_1m(BTC) or 0) > 0)
    now_ns = desk.clock.now_ns()
    time = await desk.rest.get("/time")
    assert now_ns is not None
    assert abs(now_ns - int(time["epochMillis"]) * 1_000_000) < 2_000_000_000
    report = await desk.place()
    await eventually(lambda: any(r.venue_order_id == report.venue_order_id for r in desk.reports))
    told = next(r for r in desk.reports if r.venue_order_id == report.venue_order_id)
    assert (report.quantity, report.limit_price) == (told.quantity, told.limit_price)
    await desk.rest.cancel([report.venue_order_id])
    await eventually(lambda: desk.reports[-1].status is VenueStatus.CANCELLED)


async def test_an_ed25519_key_trades(exchange: RunningExchange, eventually: Eventually) -> None:
    """EdDSA tokens are taken on REST and on the feed."""
    key = exchange.data_dir / "exchange" / "keys" / "ed.json"
    async with trading(exchange, CDE, eventually, key) as desk:
        report = await desk.place()
        await desk.rest.cancel([report.venue_order_id])
        assert await desk.rest.positions() == {}


async def test_a_snapshot_of_many_orders_is_whole_before_the_feed_counts_as_complete(
    exchange: RunningExchange, eventually: Eventually
) -> None:
    """Open orders come in batches of fifty; only the last one, of fewer, ends the snapshot."""
    key = exchange.data_dir / "exchange" / "keys" / "ed.json"
    async with trading(exchange, CDE, eventually, key) as desk:
        made = await asyncio.gather(*(desk.submit(desk.intent()) for _ in range(60)))
        ids = {one.venue_order_id for one in made if isinstance(one, Accepted)}
        assert 60 == len(ids)
        async with trading(exchange, CDE, eventually, key) as other:
            told = {report.venue_order_id for report in other.reports}
            assert (ids, 1) == (told & ids, other.resyncs)
        assert set(ids) == set(await desk.rest.cancel(sorted(ids)))


async def test_a_probe_by_orders_finds_what_the_exchange_has(
    exchange: RunningExchange, eventually: Eventually
) -> None:
    """Everything of the table, FOK and edits too; nothing is left behind."""
    async with trading(exchange, CDE, eventually) as desk:
        found = await Probe(desk.rest, BTC).by_orders()
        unsupported = {one: seen for one, seen in found.items() if seen.finding != "supported"}
        assert ({}, set(Capability)) == (unsupported, set(found))
        assert is_usable(found)
        assert frozenset(Capability) == effective(found)
        assert [] == await desk.rest.orders(BTC, working_only=True)


async def test_a_probe_by_previews_changes_nothing(
    exchange: RunningExchange, eventually: Eventually
) -> None:
    """What previews cannot show is not asked; FOK is found by them."""
    async with trading(exchange, INTX, eventually) as desk:
        before = len(await desk.rest.orders(BTC, working_only=False))
        found = await Probe(desk.rest, BTC).by_previews()
        assert {one for one in Capability if one not in found} == {C.CLIENT_IDS, C.CANCEL, C.EDIT}
        assert {Finding.SUPPORTED} == {seen.finding for seen in found.values()}
        assert C.FOK in effective(found)
        assert C.EDIT not in effective(found)
        assert is_usable(found)
        assert before == len(await desk.rest.orders(BTC, working_only=False))


def test_what_a_probe_found_decides_and_what_it_did_not_is_assumed() -> None:
    """Unsupported goes, unknown stays as assumed, and an essential one that is gone ends it."""
    no = Probed(Finding.UNSUPPORTED, "preview", "no")
    unclear = Probed(Finding.UNKNOWN, "preview", "no answer")
    found = {C.LIMIT: Probed(Finding.SUPPORTED, "preview"), C.GTD: no, C.BRACKET: unclear}
    assert C.GTD not in effective(found)
    assert {C.LIMIT, C.BRACKET, C.MARKET} <= effective(found)
    assert is_usable(found)
    assert not is_usable({**found, C.IOC: no})
    assert not is_usable({**found, C.IOC: unclear})
    assert not is_usable({})


async def test_the_pace_follows_the_venues_headers(tmp_path: Path) -> None:
    """At ten a second, thirty queries wait for their turn instead of being told 429."""
    with running_exchange(tmp_path, rate_limit_per_second=10, durable=False) as slow:
        metrics = VenueMetrics(CollectorRegistry())
        signer = ApiKeySigner(slow.key_file, lifetime_seconds=30)
        rest = CoinbaseRest(
            HttpWire(f"http://{slow.host}"), signer, CDE, metrics, pacer=Pacer(metrics.pace)
        )
        await rest.rules()
        began = asyncio.get_running_loop().time()
        await asyncio.gather(*(rest.get("/key_permissions") for _ in range(30)))
        assert asyncio.get_running_loop().time() - began > 1.0
        assert 0 == metrics.pace.limited._value.get()
        await rest.close()


async def test_client_ids_are_compared_with_the_answers_echo(desk: Desk) -> None:
    """Other terms under a used id come back as the original order: the engine compares them."""
    intent = desk.intent()
    first = await desk.submit(intent)
    again = await desk.submit(replace(intent, quantity=intent.quantity * 2))
    assert first == again
    assert isinstance(first, Accepted)
    await desk.rest.cancel([first.venue_order_id])
