"""Asking no faster than the venue allows, the urgent first; the venue's time; the market."""

import asyncio
import functools
from collections.abc import Callable, Coroutine, Mapping
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from lob.types import Side
from services.order_gateway.market import Quotes, Traded
from services.order_gateway.metrics import VenueMetrics
from services.order_gateway.venues.base import Priority
from services.order_gateway.venues.pacing import Pacer
from services.order_gateway.venues.venue_clock import VenueClock
from tests.simulation.loop import VirtualLoop, World

P = Priority
SECOND_NS = 1_000_000_000
BTC = "BTC-PERP"


@pytest.fixture
def metrics() -> VenueMetrics:
    """Metrics of their own."""
    return VenueMetrics(CollectorRegistry())


@pytest.fixture
def pacer(metrics: VenueMetrics) -> Pacer:
    """A pacer whose jitter is decided."""
    return Pacer(metrics.pace, Random(1))


def quota(limit: int, remaining: int, reset: int) -> Mapping[str, str]:
    """Return the venue's headers."""
    return {
        "x-ratelimit-limit": str(limit),
        "x-ratelimit-remaining": str(remaining),
        "x-ratelimit-reset": str(reset),
    }


def in_virtual_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test where time passes only while everybody waits, however busy the machine is."""

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        VirtualLoop(World()).run_task(  # type: ignore[abstract]
            test(*arguments, **named)
        )

    return run


async def turns(pacer: Pacer, priority: Priority, count: int, seconds: float = 0.01) -> int:
    """Return how many of `count` requests get their turn within so long."""
    deadline = asyncio.get_running_loop().time() + seconds
    found = await asyncio.gather(*(pacer.turn(priority, deadline) for _ in range(count)))
    return sum(found)


@in_virtual_time
async def test_without_headers_it_is_thirty_a_second(pacer: Pacer) -> None:
    """A burst of the usual rate, of which queries leave a part for what matters more."""
    assert 21 == await turns(pacer, P.QUERY, 40)
    assert 5 == await turns(pacer, P.ENTRY, 20)
    assert 3 == await turns(pacer, P.REDUCE, 20)
    assert 2 == await turns(pacer, P.CANCEL, 20)


@in_virtual_time
async def test_the_most_urgent_goes_first(pacer: Pacer) -> None:
    """A cancel that comes last overtakes every query that waits."""
    assert await pacer.turn(P.CANCEL, asyncio.get_running_loop().time() + 1)
    pacer.answered(200, quota(30, 0, 1))
    went = []

    async def go(priority: Priority) -> None:
        await pacer.turn(priority, asyncio.get_running_loop().time() + 5)
        went.append(priority)

    waiting = [asyncio.create_task(go(one)) for one in (P.QUERY, P.ENTRY, P.REDUCE)]
    await asyncio.sleep(0)
    waiting.append(asyncio.create_task(go(P.CANCEL)))
    await asyncio.gather(*waiting)
    assert [P.CANCEL, P.REDUCE, P.ENTRY, P.QUERY] == went


@in_virtual_time
async def test_the_headers_are_believed(pacer: Pacer, metrics: VenueMetrics) -> None:
    """What is left is left, less what the venue has not counted yet; the rest comes back."""
    loop = asyncio.get_running_loop()
    for _ in range(3):
        assert await pacer.turn(P.CANCEL, loop.time() + 1)
    pacer.answered(200, quota(100, 7, 1))
    assert (100, 7) == (metrics.pace.limit._value.get(), metrics.pace.remaining._value.get())
    assert 5 == await turns(pacer, P.CANCEL, 20)
    await asyncio.sleep(0.2)
    assert 20 == await turns(pacer, P.CANCEL, 60)


@in_virtual_time
async def test_who_gets_no_turn_in_time_is_told(pacer: Pacer) -> None:
    """A deadline before the turn: nothing was sent, and nobody's turn is used up."""
    loop = asyncio.get_running_loop()
    await pacer.turn(P.CANCEL, loop.time() + 1)
    pacer.answered(429, quota(30, 0, 1))
    assert not await pacer.turn(P.ENTRY, loop.time() + 0.05)
    task = asyncio.create_task(pacer.turn(P.CANCEL, loop.time() + 5))
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    began = loop.time()
    assert await pacer.turn(P.CANCEL, loop.time() + 5)
    assert loop.time() - began < 1


@pytest.mark.parametrize("headers", [{}, {"retry-after": "1"}, {"retry-after": "soon"}])
@in_virtual_time
async def test_a_429_holds_everything_back(
    pacer: Pacer, metrics: VenueMetrics, headers: Mapping[str, str]
) -> None:
    """Cancels too: they would be refused as well; the venue's own wish counts."""
    loop = asyncio.get_running_loop()
    await pacer.turn(P.CANCEL, loop.time() + 1)
    pacer.answered(429, headers)
    assert 1 == metrics.pace.limited._value.get()
    began = loop.time()
    assert await pacer.turn(P.CANCEL, loop.time() + 5)
    least = 1.0 if headers.get("retry-after") == "1" else 0.25
    assert least <= loop.time() - began < least * 1.5 + 0.01


@pytest.mark.parametrize(
    "headers",
    [quota(0, 0, 1), quota(10, 11, 1), quota(10, -1, 1), {"x-ratelimit-limit": "ten"},
     {**quota(10, 1, 1), "x-ratelimit-reset": "nan"}],
)  # fmt: skip
@in_virtual_time
async def test_headers_of_nonsense_change_nothing(pacer: Pacer, headers: Mapping[str, str]) -> None:
    """A limit of zero or a remainder beyond it is no limit to believe."""
    await pacer.turn(P.CANCEL, asyncio.get_running_loop().time() + 1)
    pacer.answered(200, headers)
    assert 29 == await turns(pacer, P.CANCEL, 40)


class Ticking:
    """A local clock that stands until it is moved."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.seconds


@given(
    st.floats(0.5, 500),
    st.lists(st.floats(0.01, 3), min_size=2, max_size=20),
    st.lists(st.floats(0, 0.02), min_size=20, max_size=20),
)
@example(0.5, [1.0, 0.03125], [0.0, 0.01953125])
@settings(max_examples=100, deadline=None)
def test_the_venues_clock_runs_as_the_venues(
    speed: float, pauses: list[float], delays: list[float]
) -> None:
    """At any speed it is right to a message's delay and a change of speed, and never goes back."""
    local = Ticking()
    clock = VenueClock(local)
    assert clock.now_ns() is None
    shown = 0
    for pause, delay in zip(pauses, delays, strict=False):
        local.seconds += pause
        true = int((local.seconds - 100) * speed * 1e9)
        clock.observe(max(true - int(delay * 1e9), 0))
        now = clock.now_ns()
        assert now is not None
        assert now >= shown
        shown = now
        # Ahead where a sign was so late that it said nothing new: the speed is still the usual one.
        assert abs(now - true) <= 0.021e9
    local.seconds += 1
    now, true = clock.now_ns(), int((local.seconds - 100) * speed * 1e9)
    assert now is not None
    if sum(pauses[1:]) > 1:
        assert abs(now - true) <= (0.15 * speed + 0.1) * 1e9


def test_a_clock_that_is_set_back_is_followed() -> None:
    """A venue that began anew is at another time; a message that was late is not."""
    local = Ticking()
    clock = VenueClock(local)
    clock.observe(1_000 * SECOND_NS)
    local.seconds += 1
    clock.observe(999 * SECOND_NS)
    assert 1_001 * SECOND_NS == clock.now_ns()
    clock.observe(500 * SECOND_NS)
    assert 500 * SECOND_NS == clock.now_ns()


def book(quotes: Quotes, bids: dict[str, str], asks: dict[str, str]) -> None:
    """Set a whole book."""
    quotes.reset(BTC)
    for is_bid, levels in ((True, bids), (False, asks)):
        for price, quantity in levels.items():
            quotes.set_level(BTC, is_bid, Decimal(price), Decimal(quantity))
    quotes.stamp(BTC)


def test_depth_is_what_an_order_would_meet() -> None:
    """The touch and ten levels, in quote currency, of the side that is consumed."""
    quotes = Quotes()
    assert quotes.depth(BTC, Side.BUY) is None
    book(quotes, {str(100 - n): "2" for n in range(12)}, {"101": "1", "102": "3"})
    sold = quotes.depth(BTC, Side.SELL)
    bought = quotes.depth(BTC, Side.BUY)
    assert sold is not None
    assert bought is not None
    assert (Decimal(200), sum(Decimal(2) * (100 - n) for n in range(10))) == (sold.l1, sold.l10)
    assert (Decimal(101), Decimal(101 + 306)) == (bought.l1, bought.l10)
    book(quotes, {"100": "1"}, {})
    assert quotes.depth(BTC, Side.BUY) is None


def test_a_crossed_book_is_no_quote_until_it_is_whole_again() -> None:
    """Bids at or above asks: no touch, no mark, no depth; and it is told when that lasts."""
    local = Ticking()
    quotes = Quotes(local)
    book(quotes, {"100": "1"}, {"100": "1"})
    assert (quotes.quote(BTC), quotes.mark(BTC), quotes.depth(BTC, Side.BUY)) == (None, None, None)
    assert quotes.crossed(1) is None
    local.seconds += 2
    assert BTC == quotes.crossed(1)
    quotes.set_level(BTC, True, Decimal(100), Decimal(0))
    quotes.set_level(BTC, True, Decimal(99), Decimal(1))
    quotes.stamp(BTC)
    assert (None, Decimal("99.5")) == (quotes.crossed(1), quotes.mark(BTC))


def test_ages_are_those_of_arrival() -> None:
    """A message that waited before it was read makes no younger quote."""
    local = Ticking()
    quotes = Quotes(local)
    book(quotes, {"99": "1"}, {"100": "1"})
    quotes.heartbeat(local.seconds - 4)
    assert 4 == quotes.age_seconds(BTC)
    quote = quotes.quote(BTC)
    assert quote is not None
    assert 4 == quote.age_seconds


def trade(number: int, seconds: float, price: str = "100", quantity: str = "1") -> Traded:
    """Return a public trade at a time of the venue."""
    return Traded(f"t{number}", Decimal(price), Decimal(quantity), int(seconds * SECOND_NS))


def test_the_minutes_volume_expires_on_reading_and_counts_each_trade_once() -> None:
    """By the venue's clock, whatever ours says; a snapshot that repeats trades adds nothing."""
    now = 100 * SECOND_NS
    changed: list[str] = []
    quotes = Quotes(venue_now_ns=lambda: now)
    quotes.on_change = changed.append
    assert quotes.volume_1m(BTC) is None
    quotes.trades(BTC, [trade(3, 90), trade(2, 50), trade(1, 30)])
    quotes.trades(BTC, [trade(4, 95, "200", "2"), trade(3, 90)])
    assert (Decimal(200), [BTC, BTC]) == (quotes.last_trade(BTC), changed)
    assert Decimal(600) == quotes.volume_1m(BTC)
    now = 151 * SECOND_NS
    assert Decimal(400) == quotes.volume_1m(BTC)
    now = 300 * SECOND_NS
    assert Decimal(0) == quotes.volume_1m(BTC)
    quotes.clear()
    assert quotes.last_trade(BTC) is None, "a lost feed's last price is no last price"
