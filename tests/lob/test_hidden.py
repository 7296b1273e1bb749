"""Icebergs refill as the book refills them, give themselves away by it, and have likely sizes."""

import doctest
import importlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lob.book import OrderBook
from lob.errors import InvalidInput
from lob.hidden import (
    Confidence,
    DetectionRules,
    Iceberg,
    IcebergDetector,
    IcebergState,
    RefillPosterior,
    TotalSizeCurve,
    detect_in_feed,
    lots_until_filled,
    refill_count,
    refill_tranches,
)
from lob.messages import MESSAGE_DTYPE, Action
from lob.types import Refilled, Side, Traded

SECOND = 1_000_000_000


@pytest.mark.parametrize("name", ["refills", "detection", "totals"])
def test_examples(name: str) -> None:
    """The docstrings' examples hold."""
    tried = doctest.testmod(importlib.import_module(f"lob.hidden.{name}"))
    assert 0 == tried.failed
    assert tried.attempted > 0


def test_reference_refills(market_data: Path) -> None:
    """The reference case of refills."""
    cases = json.loads((market_data / "reference_cases.json").read_text())["cases"]
    case = next(case for case in cases if case["id"] == "iceberg_refills")
    given_, expected = case["inputs"], case["expected"]
    assert expected["tranches"] == refill_tranches(given_["total"], given_["peak"])
    assert expected["n_refills"] == refill_count(given_["total"], given_["peak"])


def test_reference_survival(market_data: Path) -> None:
    """The reference case of Kaplan and Meier's curve, as of total sizes."""
    cases = json.loads((market_data / "reference_cases.json").read_text())["cases"]
    case = next(case for case in cases if case["id"] == "kaplan_meier_toy")
    values, events = zip(*case["inputs"]["obs_value_event"], strict=True)
    curve = TotalSizeCurve.fit(values, events)
    for size, survival in case["expected"].items():
        assert math.isclose(survival, float(curve.survival(float(size))), abs_tol=1e-9)


@given(
    total=st.integers(1, 500),
    peak=st.integers(1, 100),
    ahead=st.integers(0, 50),
    behind=st.integers(0, 50),
)
def test_the_book_refills_and_queues_as_said(
    total: int, peak: int, ahead: int, behind: int
) -> None:
    """One large aggressor meets the parts that `refill_tranches` lists, when it says."""
    book = OrderBook()
    if ahead:
        book.submit(1, Side.SELL, ahead, 100)
    book.submit(2, Side.SELL, total, 100, display_lots=peak if peak < total else 0)
    if behind:
        book.submit(3, Side.SELL, behind, 100)
    events = book.submit(4, Side.BUY, total + ahead + behind, 100)

    traded, parts, needed = 0, [], []
    for event in events:
        if isinstance(event, Traded):
            traded += event.quantity_lots
            if event.maker_order_id == 2:
                parts.append(event.quantity_lots)
                needed.append(traded)
    assert refill_tranches(total, peak) == parts
    assert lots_until_filled(total, peak, ahead, behind) == needed
    assert refill_count(total, peak) == sum(isinstance(event, Refilled) for event in events)


@given(seen=st.integers(0, 20), a=st.floats(0.2, 5), b=st.floats(1.5, 6))
def test_refill_posterior_is_a_distribution(seen: int, a: float, b: float) -> None:
    """Probabilities and tails agree, and the mean is the sum of the tails."""
    posterior = RefillPosterior(seen, a, b)
    chances = [posterior.probability(further) for further in range(60)]

    assert 1.0 == posterior.at_least(0)
    assert math.isclose(1 - math.fsum(chances), posterior.at_least(60), abs_tol=1e-9)
    assert math.isclose((a + seen) / (b - 1), posterior.expected_refills)
    more = RefillPosterior(seen + 1, a, b)
    assert more.expected_refills > posterior.expected_refills


def test_refill_posterior_without_a_mean() -> None:
    """With b of 1 or less the expected number is infinite."""
    assert math.inf == RefillPosterior(3, 1.0, 1.0).expected_refills
    steep = RefillPosterior(0, 1.0, 50.0)
    total = math.fsum(n * steep.probability(n) for n in range(200))
    assert math.isclose(steep.expected_refills, total, rel_tol=1e-9)


def refill(detector: IcebergDetector, at: int, lots: int, shown: int) -> Iceberg | None:
    """Use up one part of `lots` and show the next a microsecond later."""
    detector.used_up(at, Side.BUY, 50, lots)
    return detector.shown(at + 1_000, Side.BUY, 50, shown)


def test_two_refills_confirm_and_three_are_sure() -> None:
    """Suspected by one refill, confirmed by two, of high confidence by three."""
    detector = IcebergDetector()
    found = [refill(detector, at * SECOND, 100, 100) for at in range(1, 4)]

    states = [(iceberg.state, iceberg.confidence) for iceberg in found if iceberg is not None]
    assert [
        (IcebergState.SUSPECTED, Confidence.LOW),
        (IcebergState.CONFIRMED, Confidence.MEDIUM),
        (IcebergState.CONFIRMED, Confidence.HIGH),
    ] == states


@pytest.mark.parametrize(
    ("shown", "is_refill"), [(80, True), (79, False), (120, True), (121, False)]
)
def test_refills_show_about_as_much(shown: int, is_refill: bool) -> None:
    """From 0.8 to 1.2 of the display, both included, is a refill; the mean moves by its weight."""
    found = refill(IcebergDetector(), 5, 100, shown)
    assert is_refill == (found is not None)
    if found is not None:
        assert math.isclose(100 + 0.3 * (shown - 100), found.display_lots)


def test_late_orders_are_no_refills() -> None:
    """A refill is in time to the nanosecond; afterwards the iceberg is exhausted."""
    rules = DetectionRules(refill_within_ns=1_000)
    for late, count in ((1_000, 2), (1_001, 1)):
        detector = IcebergDetector(rules)
        detector.used_up(0, Side.SELL, 9, 10)
        detector.shown(1, Side.SELL, 9, 10)
        detector.used_up(100, Side.SELL, 9, 10)
        detector.shown(100 + late, Side.SELL, 9, 10)
        ended = detector.expire(10_000)
        if count == 1:
            assert [(IcebergState.EXHAUSTED, 1, 0.0)] == [
                (found.state, found.refills, found.hidden_lots) for found in ended
            ]
        else:
            assert [2] == [found.refills for found in detector.icebergs()]


def test_a_quiet_window_ends_an_iceberg() -> None:
    """Nothing heard for more than the window: exhausted, and what comes next begins anew."""
    detector = IcebergDetector()
    refill(detector, SECOND, 10, 10)
    assert [] == detector.expire(61 * SECOND)
    assert [IcebergState.EXHAUSTED] == [one.state for one in detector.expire(62 * SECOND)]
    found = refill(detector, 200 * SECOND, 10, 10)
    assert found is not None
    assert 1 == found.refills


def test_withdrawing_the_shown_part_cancels() -> None:
    """The part that shows is taken out: cancelled; another order of the level is not it."""
    detector = IcebergDetector()
    refill(detector, SECOND, 10, 11)
    assert detector.withdrawn(SECOND + 5_000, Side.BUY, 50, 500) is None
    found = detector.withdrawn(SECOND + 6_000, Side.BUY, 50, 11)
    assert found is not None
    assert IcebergState.CANCELLED is found.state
    assert [] == detector.icebergs()


def test_watched_levels_are_bounded() -> None:
    """Of too many levels the one quiet the longest is dropped."""
    detector = IcebergDetector(DetectionRules(max_candidates=2))
    for price in (1, 2, 3):
        detector.used_up(price, Side.SELL, price, 10)
    assert 2 == len(detector)
    assert detector.shown(4, Side.SELL, 1, 10) is None
    assert detector.shown(4, Side.SELL, 3, 10) is not None


def feed_of_iceberg(total: int, peak: int) -> "np.ndarray[Any, Any]":
    """Return the feed of an iceberg in a real book that market orders eat, 7 lots a second."""
    book = OrderBook()
    rows = [(0, 1, 100, peak, 0, Action.FEED_ADD, -1, 0, 0)]
    book.submit(1, Side.SELL, total, 100, display_lots=peak)
    order_id, now = 10, 0
    while book.best_ask() is not None:
        order_id, now = order_id + 1, now + SECOND // 10
        for event in book.submit(order_id, Side.BUY, 7, 100):
            if isinstance(event, Traded):
                fields = (now, 1, 100, event.quantity_lots, 0, Action.FEED_EXECUTE, 0, 0, 0)
                rows.append(fields)
            elif isinstance(event, Refilled):
                rows.append((now, 1, 100, event.displayed_lots, 0, Action.FEED_ADD, -1, 0, 0))
    rows.append((now + 5 * SECOND, 2, 90, 5, 0, Action.FEED_ADD, 1, 0, 0))
    return np.array(rows, MESSAGE_DTYPE)


def test_an_iceberg_of_the_book_is_found_in_its_feed() -> None:
    """The book's own iceberg of 20 parts is found, counted, and exhausted at its end."""
    found = detect_in_feed(feed_of_iceberg(200, 10))

    assert 1 == len(found)
    assert (Side.SELL, 100, 19) == (found[0].side, found[0].price_ticks, found[0].refills)
    assert (IcebergState.EXHAUSTED, Confidence.HIGH) == (found[0].state, found[0].confidence)
    assert 200 == found[0].traded_lots
    assert math.isclose(10.0, found[0].display_lots)


def test_plain_orders_are_no_icebergs() -> None:
    """Orders of sizes that differ, one after another, suspect nobody."""
    rows = []
    for at in range(20):
        lots = 10 if at % 2 else 25
        rows.append((at * 1_000, at + 1, 100, lots, 0, Action.FEED_ADD, -1, 0, 0))
        rows.append((at * 1_000 + 1, at + 1, 100, lots, 0, Action.FEED_EXECUTE, 0, 0, 0))
    assert [] == detect_in_feed(np.array(rows, MESSAGE_DTYPE))


def test_total_sizes() -> None:
    """Conditional survival and mean of a curve by hand: totals 10, 20, 40, none cancelled."""
    curve = TotalSizeCurve.fit([10, 20, 40], [1, 1, 1])

    assert math.isclose(0.5, curve.probability_of_more(10, 10))
    assert math.isclose(1.0, curve.probability_of_more(0, 9))
    assert math.isclose(70 / 3, curve.expected_remaining(0))
    assert math.isclose(20.0, curve.expected_remaining(10))  # 10 or 30
    assert math.isclose(15.0, curve.expected_remaining(25))
    with pytest.raises(InvalidInput, match=r"executed: 40\.0; allowed: below 40\.0"):
        curve.expected_remaining(40)


@given(totals=st.lists(st.integers(1, 50), min_size=1, max_size=30))
def test_without_cancels_the_curve_is_the_empirical_one(totals: list[int]) -> None:
    """Uncensored totals give the share above each size, and the sample's mean."""
    curve = TotalSizeCurve.fit(totals, [1] * len(totals))

    for size in range(51):
        share = sum(total > size for total in totals) / len(totals)
        assert math.isclose(share, float(curve.survival(size)), abs_tol=1e-12)
    assert math.isclose(sum(totals) / len(totals), curve.expected_remaining(0), rel_tol=1e-9)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: refill_tranches(0, 5), "total: 0"),
        (lambda: refill_tranches(5, -1), "peak: -1"),
        (lambda: refill_count(10**9, 1), "peak: 1 shows 1000000000 in 1000000000 parts"),
        (lambda: RefillPosterior(-1), "refills_seen: -1"),
        (lambda: DetectionRules(low_ratio=1.5), "low_ratio: 1.5"),
        (lambda: DetectionRules(high_ratio=0.5), "high_ratio: 0.5"),
        (lambda: IcebergDetector().shown(5, Side.BUY, 0, 1), "price_ticks: 0"),
        (lambda: TotalSizeCurve.fit([1.0], [2]), "completed: 2.0"),
        (
            lambda: TotalSizeCurve.fit([1.0, 2.0], [1]),
            "completed: 1 numbers; allowed: as many as totals",
        ),
        (lambda: detect_in_feed(np.zeros(3)), "messages: not of MESSAGE_DTYPE"),
    ],
)
def test_wrong_arguments_are_named(call: object, said: str) -> None:
    """Each refusal is one line that names the argument and its value."""
    with pytest.raises(InvalidInput, match=said):
        call()  # type: ignore[operator]


def test_time_does_not_go_back() -> None:
    """A time before the last one is refused."""
    detector = IcebergDetector()
    detector.used_up(10, Side.BUY, 5, 5)
    with pytest.raises(InvalidInput, match="now_ns: 9; allowed: a whole number of 10 or more"):
        detector.shown(9, Side.BUY, 5, 5)
