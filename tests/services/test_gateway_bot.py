"""The bot's loop on a desk of the test's own: what it asks for, when, under which id, and why."""

from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from lob.types import Side, TimeInForce
from services.order_gateway.bot import ENTRY_BARS, Bot
from services.order_gateway.bot_orders import CLIENT_ID_MAX, DecisionKey
from services.order_gateway.engine import Submitted
from touchstone.kit.ledger_entries import Record
from touchstone.perps.checks import Refusal, RefusalReason
from touchstone.perps.filters import MarketView
from touchstone.perps.orders import Intent, Order, OrderState, OrderType
from touchstone.perps.products import ProductRules
from touchstone.perps.profiles import Profile, resolve
from touchstone.perps.strategy import AccountView, Action, Decision

SYMBOL = "BTC-PERP"
SECOND = 1_000_000_000
START = 1_800_000_000 * SECOND
RULES = ProductRules(
    symbol=SYMBOL,
    product_id="BTC-PERP-INTX",
    price_increment=Decimal("0.1"),
    size_increment=Decimal("0.0001"),
)
MARKET = MarketView(
    age_seconds=0.1,
    mark=Decimal(100_000),
    bid=Decimal(99_990),
    ask=Decimal(100_010),
    depth_l1={side: Decimal(200_000) for side in Side},
    depth_l10={side: Decimal(900_000) for side in Side},
    volume_1m_usd=Decimal(500_000),
)
ENTER = Decision(Action.ENTER, side=Side.BUY, notional=Decimal(100), message="crossed")
EXIT = Decision(Action.EXIT, side=Side.SELL, quantity=Decimal("0.001"), reasons=("CROSSED_BACK",))
HOLD = Decision(Action.HOLD)


@dataclass
class Desk:
    """A gateway whose orders fill, rest or are refused as the test says."""

    quantity: Decimal | None = Decimal(0)
    refuse: RefusalReason | None = None
    rests: bool = False
    orders: list[Order] = field(default_factory=list)
    asked: list[Intent] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    events: list[Record] = field(default_factory=list)
    known: dict[str, Order] = field(default_factory=dict)

    def now_ns(self) -> int | None:
        """Return a time of the venue."""
        return START

    def market(self, symbol: str) -> MarketView:  # noqa: ARG002
        """Return the market."""
        return MARKET

    def account(self, symbol: str) -> AccountView:  # noqa: ARG002
        """Return an account of 100,000 dollars."""
        held = self.quantity
        return AccountView(
            equity=Decimal(100_000),
            quantity=held,
            entry_price=Decimal(100_000) if held else None,
        )

    def rules(self, symbol: str) -> ProductRules | None:  # noqa: ARG002
        """Return the product's rules."""
        return RULES

    def working(self, symbol: str) -> list[Order]:  # noqa: ARG002
        """Return what rests."""
        return [order for order in self.orders if not order.state.is_terminal]

    async def submit(self, intent: Intent) -> Submitted | Refusal:
        """Take, or refuse; a known id is answered with the order of then."""
        if intent.client_order_id in self.known:
            return Submitted(self.known[intent.client_order_id], repeated=True)
        self.asked.append(intent)
        if self.refuse is not None:
            return Refusal(self.refuse, "the test says so")
        resting = self.rests or intent.order_type is OrderType.STOP_LIMIT
        state = OrderState.OPEN if resting else OrderState.FILLED
        order = Order(intent=intent, state=state)
        self.orders.append(order)
        self.known[intent.client_order_id] = order
        if not resting and self.quantity is not None:
            self.quantity += intent.side.sign * intent.quantity
        return Submitted(order)

    async def cancel(self, client_order_id: str) -> None:
        """Cancel at once."""
        self.cancelled.append(client_order_id)
        self.orders = [
            replace(order, state=OrderState.CANCELLED)
            if order.intent.client_order_id == client_order_id
            else order
            for order in self.orders
        ]

    def note(self, record: Record) -> None:
        """Keep it."""
        self.events.append(record)

    def types(self) -> list[str]:
        """Return the types of the kept events."""
        return [record.type for record in self.events]


class Scripted:
    """A strategy that decides what the test says."""

    name = "ma_crossover"

    def __init__(self, decision: Decision) -> None:
        self.decision = decision
        self.bars: list[tuple[int, Decimal]] = []

    def on_bar(self, time_ns: int, close: Decimal) -> None:
        """Keep it."""
        self.bars.append((time_ns, close))

    def decide(self, market: MarketView, account: AccountView) -> Decision:  # noqa: ARG002
        """Return the present decision."""
        return self.decision


def make(
    desk: Desk, strategy: Scripted, profile: Profile | None = None, **options: Any
) -> tuple[Bot, list[str]]:
    """Return a bot with bars of five seconds, and what it says."""
    said: list[str] = []
    bot = Bot(
        desk,
        profile or resolve("dev"),
        (SYMBOL,),
        bot_id="bot",
        update_seconds=5,
        make_strategy=lambda: strategy,
        say=lambda _symbol, text: said.append(text),
        **options,
    )
    return bot, said


async def test_an_entry_is_a_market_order_within_the_limit_and_is_made_once_a_bar() -> None:
    """Five looks at one cross: one order, named after bot, symbol, bar and side."""
    desk = Desk(rests=True)
    bot, said = make(desk, Scripted(ENTER))
    for look in range(5):
        await bot.look(SYMBOL, START + look * SECOND)
    [intent] = desk.asked
    assert intent.client_order_id == f"bot:BTC-PERP:{START // 1_000_000}:BUY:e"
    terms = (intent.order_type, intent.time_in_force, intent.quantity, intent.strategy)
    assert (OrderType.MARKET, TimeInForce.IOC, Decimal("0.0008"), "ma_crossover") == terms
    assert bot.entries_accepted == 1
    assert said == [
        "ENTER BUY 0.0008 market: crossed; mark 100000.00, spread 2.00 bps, volume 500000 USD/min"
    ]
    [event] = desk.events
    market = event.payload["market"]
    assert ("entry_accepted", "2.0000", "500000.00") == (
        event.type,
        market["spread_bps"],
        market["volume_1m_usd"],
    )
    assert {"BUY": "200000.00", "SELL": "200000.00"} == market["depth_l1_usd"]


async def test_a_restart_within_the_bar_asks_for_nothing_new() -> None:
    """The new process decides the same under the same id, and the gateway answers with what is."""
    desk = Desk(rests=True)
    for _ in range(2):
        bot, _ = make(desk, Scripted(ENTER))
        await bot.look(SYMBOL, START)
        desk.orders.clear()
    assert len(desk.asked) == 1
    assert desk.asked[0].client_order_id in desk.known


async def test_what_the_gateway_refuses_is_a_rejected_entry_with_its_reason() -> None:
    """Counted and recorded once a bar; the next bar tries again under another id."""
    desk = Desk(refuse=RefusalReason.ORDER_RATE)
    bot, said = make(desk, Scripted(ENTER))
    await bot.look(SYMBOL, START)
    await bot.look(SYMBOL, START + SECOND)
    await bot.look(SYMBOL, START + 5 * SECOND)
    assert ["entry_rejected"] * 2 == desk.types()
    assert {"ORDER_RATE": 2} == bot.reasons
    assert len({intent.client_order_id for intent in desk.asked}) == 2
    assert said[0].startswith("no entry BUY [ORDER_RATE]: the test says so")


async def test_a_dry_run_decides_and_says_that_nothing_was_sent() -> None:
    """The refusal of the last gate is what was asked for, no rejection."""
    desk = Desk(refuse=RefusalReason.DRY_RUN)
    bot, said = make(desk, Scripted(ENTER))
    await bot.look(SYMBOL, START)
    assert (1, 0) == (bot.entries_accepted, bot.entries_rejected)
    assert said[0].startswith("ENTER (dry run: not sent) BUY 0.0008 market")


async def test_objections_of_the_strategy_are_recorded_once_a_bar() -> None:
    """All reasons together; what is no entry at all is no rejection."""
    objected = Decision(Action.HOLD, side=Side.BUY, reasons=("SPREAD", "RSI"), message="wide")
    desk, strategy = Desk(), Scripted(objected)
    bot, _ = make(desk, strategy)
    await bot.look(SYMBOL, START)
    await bot.look(SYMBOL, START + SECOND)
    strategy.decision = replace(HOLD, reasons=("WARMING_UP",))
    await bot.look(SYMBOL, START + 2 * SECOND)
    [event] = desk.events
    assert ["SPREAD", "RSI"] == event.payload["reasons"]
    assert bot.entries_rejected == 1


async def test_a_position_gets_one_stop_at_the_venue_and_keeps_it() -> None:
    """Two percent behind the entry, reduce-only; another size replaces it, flat removes it."""
    desk, strategy = Desk(quantity=Decimal("0.001")), Scripted(HOLD)
    bot, said = make(desk, strategy)
    await bot.look(SYMBOL, START)
    await bot.look(SYMBOL, START + 5 * SECOND)
    [stop] = desk.asked
    assert (OrderType.STOP_LIMIT, Side.SELL, True) == (stop.order_type, stop.side, stop.reduce_only)
    assert (Decimal("98000.0"), Decimal("97020.0")) == (stop.stop_price, stop.limit_price)
    assert said == ["protective stop SELL 0.001 at 98000.0, limit 97020.0"]
    desk.quantity = Decimal("0.002")
    await bot.look(SYMBOL, START + 10 * SECOND)
    await bot.look(SYMBOL, START + 15 * SECOND)
    assert [stop.client_order_id] == desk.cancelled
    assert Decimal("0.002") == desk.asked[1].quantity
    desk.quantity = Decimal(0)
    await bot.look(SYMBOL, START + 20 * SECOND)
    assert desk.cancelled[1:] == [desk.asked[1].client_order_id]


async def test_an_exit_first_takes_away_what_stands_in_its_way() -> None:
    """The stop goes, then a reduce-only market order of the whole position."""
    desk, strategy = Desk(quantity=Decimal("0.001")), Scripted(HOLD)
    bot, _ = make(desk, strategy)
    await bot.look(SYMBOL, START)
    strategy.decision = EXIT
    await bot.look(SYMBOL, START + 5 * SECOND)
    stop, leave = desk.asked
    assert [stop.client_order_id] == desk.cancelled
    assert (OrderType.MARKET, True, Decimal("0.001")) == (
        leave.order_type,
        leave.reduce_only,
        leave.quantity,
    )
    assert (Decimal(0), 1) == (desk.quantity, bot.exits)
    assert desk.types() == ["exit_sent"]


async def test_an_entry_that_nobody_took_is_cancelled_after_a_minute() -> None:
    """A post-only entry rests five basis points behind the bid; twelve bars later it is old."""
    profile = resolve("dev", {"order_type": "limit", "post_only": True})
    desk, strategy = Desk(rests=True), Scripted(ENTER)
    bot, _ = make(desk, strategy, profile)
    await bot.look(SYMBOL, START)
    [entry] = desk.asked
    assert (Decimal("99940.0"), True) == (entry.limit_price, entry.post_only)
    strategy.decision = HOLD
    await bot.look(SYMBOL, START + 5 * SECOND)
    assert not desk.cancelled
    await bot.look(SYMBOL, START + (ENTRY_BARS + 2) * 5 * SECOND)
    assert [entry.client_order_id] == desk.cancelled


async def test_an_unknown_position_is_neither_protected_nor_tidied() -> None:
    """Before the books are compared with the venue nothing is placed and nothing taken away."""
    desk = Desk(quantity=None)
    bot, _ = make(desk, Scripted(HOLD))
    await bot.look(SYMBOL, START)
    assert ([], []) == (desk.asked, desk.cancelled)


async def test_the_fallback_places_no_stops() -> None:
    """Market orders only."""
    desk = Desk(quantity=Decimal("0.001"))
    bot, _ = make(desk, Scripted(HOLD), protect=False)
    await bot.look(SYMBOL, START)
    assert desk.asked == []


async def test_bars_are_cut_in_venue_time() -> None:
    """Each price once, its bar ended by the first of the next; skipped ones are not made up."""
    strategy = Scripted(HOLD)
    bot, _ = make(Desk(), strategy)
    for second in (0, 3, 5, 21):
        await bot.look(SYMBOL, START + second * SECOND)
    ended = [(time_ns - START) // SECOND for time_ns, _ in strategy.bars]
    assert ended == [5, 10]


def test_an_id_fits_the_venue_whatever_the_bot_is_called() -> None:
    """A long name is shortened to a digest, so that two bots do not meet in one id."""
    names = ["b" * 64, "b" * 63 + "c"]
    ids = {DecisionKey(n, SYMBOL, START).client_order_id(Side.SELL, "x") for n in names}
    assert len(ids) == 2
    assert all(len(one) <= CLIENT_ID_MAX for one in ids)
