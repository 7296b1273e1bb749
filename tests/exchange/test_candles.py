"""Candles of every granularity agree with the trades they are made of, within bounded memory."""

from random import Random

import pytest

from touchstone.exchange.candles import Candle, Candles, Granularity

SECOND_NS = 1_000_000_000
HOUR_S = 3_600


def made(trades: list[tuple[int, int, int]], kept: int = 1_500) -> Candles:
    """Return the candles of trades (price, lots, second)."""
    candles = Candles(kept)
    for price, lots, second in trades:
        candles.add(price, lots, second * SECOND_NS)
    return candles


def by_hand(trades: list[tuple[int, int, int]], seconds: int) -> list[Candle]:
    """Return the candles of a length, newest first, one trade after the other."""
    found: dict[int, Candle] = {}
    for price, lots, second in trades:
        start = second // seconds * seconds
        new = Candle(start, price, price, price, price, lots, price * lots)
        found[start] = found[start].joined(new) if start in found else new
    return [found[start] for start in sorted(found, reverse=True)]


def random_trades(seed: int, count: int, step_max: int) -> list[tuple[int, int, int]]:
    """Return trades in order of time, some of them in the same second."""
    random = Random(seed)
    second, trades = 7 * 86_400, []
    for _ in range(count):
        second += random.randrange(step_max)
        trades.append((random.randrange(900, 1_100), random.randrange(1, 50), second))
    return trades


@pytest.mark.parametrize("granularity", Granularity)
@pytest.mark.parametrize("step_max", [40, 4_000])
def test_candles_are_those_made_by_hand(granularity: Granularity, step_max: int) -> None:
    """Of every length, with the present one first, whether trades are dense or far apart."""
    trades = random_trades(3, 400, step_max)
    candles = made(trades)
    found = candles.between(granularity, 0, 10**10, 10_000)
    assert by_hand(trades, granularity.seconds) == list(found)


def test_a_range_and_a_limit_choose_the_newest() -> None:
    """Both ends count; a start within a candle leaves that candle out."""
    candles = made([(10, 1, 60 * minute) for minute in range(10)])
    starts = [candle.start_s for candle in candles.between(Granularity.ONE_MINUTE, 120, 420, 3)]
    assert [420, 360, 300] == starts
    assert () == candles.between(Granularity.ONE_MINUTE, 541, 599, 10)
    assert () == Candles().between(Granularity.ONE_DAY, 0, 10**10, 10)


def test_memory_is_bounded() -> None:
    """The oldest candles go; a coarser granularity still has their time."""
    candles = made([(10 + hour, 1, hour * HOUR_S) for hour in range(50)], kept=20)
    hours = candles.between(Granularity.ONE_HOUR, 0, 10**10, 100)
    assert 21 == len(hours)
    days = candles.between(Granularity.ONE_DAY, 0, 10**10, 100)
    assert [2, 24, 24] == [day.volume_lots for day in days]


def test_the_year_is_the_last_52_weeks() -> None:
    """To the day: what is older no longer counts."""
    candles = made([(100 + day % 400, 1, day * 86_400 + 7) for day in range(600)])
    year = candles.year(599 * 86_400 * SECOND_NS)
    assert year is not None
    assert (100, 499, 100 + 599 % 400) == (year.low_ticks, year.high_ticks, year.close_ticks)
    assert year.start_s == (599 - 363) * 86_400
    assert Candles().year(0) is None


def test_the_day_is_the_last_24_hours() -> None:
    """To the minute, as time goes on without a trade too."""
    trades = random_trades(5, 3_000, 90)
    candles = Candles()
    for price, lots, second in trades:
        candles.add(price, lots, second * SECOND_NS)
    last = trades[-1][2]
    for later in (0, 30, 7_000, 50_000, 86_400 + 60):
        now = last + later
        since = now // 60 * 60 - 86_400
        counted = [trade for trade in trades if trade[2] // 60 * 60 > since]
        day = candles.day(now * SECOND_NS)
        if not counted:
            assert day is None
            continue
        assert day is not None
        assert sum(lots for _, lots, _ in counted) == day.volume_lots
        assert counted[0][0] == day.open_ticks
        prices = [price for price, _, _ in counted]
        assert (max(prices), min(prices)) == (day.high_ticks, day.low_ticks)
        assert sum(price * lots for price, lots, _ in counted) == day.turnover
    assert Candles().day(0) is None
