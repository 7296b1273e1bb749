"""Features at arrival: scale-free, the same for both sides, and of the past alone."""

import math

import numpy as np
import pytest

from lob import MESSAGE_DTYPE, Action
from lob.errors import InvalidInput
from lob.fill_probability.forecast_features import FEATURES, arrival_features
from lob.messages import Array

ADD, DELETE, REDUCE, MODIFY, EXECUTE, CLEAR = tuple(Action)[4:]


def feed(*rows: tuple[int, int, int, int, int]) -> Array:
    """Return messages of (action, order id, side, price, lots), one every 10 ms."""
    messages = np.zeros(len(rows), MESSAGE_DTYPE)
    for index, (action, order_id, side, price, lots) in enumerate(rows):
        messages[index] = ((index + 1) * 10**7, order_id, price, lots, 0, action, side, 0, 0)
    return messages


def busy(count: int, seed: int) -> Array:
    """Return a drawn feed of adds around 1,000, deletes, reduces, executions and moves."""
    rng = np.random.default_rng(seed)
    rows: list[tuple[int, int, int, int, int]] = []
    live: dict[int, tuple[int, int]] = {}
    for order_id in range(1, count + 1):
        what = rng.integers(0, 10)
        if what < 6 or not live:
            side = int(rng.choice([1, -1]))
            price, lots = 1_000 - side * int(rng.integers(1, 9)), 10 * int(rng.integers(1, 6))
            live[order_id] = (side, lots)
            rows.append((ADD, order_id, side, price, lots))
            continue
        chosen = int(rng.choice(list(live)))
        side, lots = live[chosen]
        if what == 6:
            rows.append((REDUCE, chosen, 0, 0, lots // 2))
            live[chosen] = (side, lots - lots // 2)
        elif what == 7:
            rows.append((MODIFY, chosen, 0, 1_000 - side * 3, lots + 10))
            live[chosen] = (side, lots + 10)
        else:
            rows.append((DELETE if what == 8 else EXECUTE, chosen, 0, 0, lots))
            del live[chosen]
    return feed(*rows)


def arrivals_of(messages: Array) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the places of the adds."""
    return np.flatnonzero(messages["action"] == ADD)


def test_a_small_book_is_described() -> None:
    """Distances, queues and the gap of one order that joins behind the touch."""
    messages = feed(
        (ADD, 1, 1, 100, 5),
        (ADD, 2, -1, 104, 5),
        (ADD, 3, 1, 99, 5),
        (ADD, 4, 1, 97, 5),
        (ADD, 5, 1, 99, 5),
    )
    (row,) = arrival_features(messages, np.array([4]))
    found = dict(zip(FEATURES, row.tolist(), strict=True))
    assert found["ticks_to_opposite"] == pytest.approx(math.asinh(5))
    assert found["ticks_behind_touch"] == pytest.approx(math.asinh(1))
    assert found["spreads_behind_touch"] == pytest.approx(math.asinh(1 / 4))
    assert found["orders_ahead_at_price"] == pytest.approx(math.asinh(1))
    assert found["orders_ahead"] == pytest.approx(math.asinh(2))
    assert found["lots_ahead"] == pytest.approx(math.asinh(2))
    assert found["gap_behind"] == pytest.approx(math.asinh(2))
    assert found["touch_imbalance"] == pytest.approx(0)
    assert (found["improves"], found["joins"]) == (0, 0)


def test_nothing_later_has_a_part() -> None:
    """The features of an order are the same whatever comes at its message and after it."""
    messages = busy(600, seed=1)
    at = arrivals_of(messages)
    whole = arrival_features(messages, at)
    cut = int(at[len(at) // 2])
    other = messages.copy()
    other[cut + 1 :] = busy(600, seed=2)[cut + 1 :]
    other["order_id"][cut + 1 :] += 10_000
    early = at[at <= cut]
    np.testing.assert_array_equal(arrival_features(other, early), whole[: len(early)])
    np.testing.assert_array_equal(arrival_features(messages[: cut + 1], early), whole[: len(early)])


def test_both_sides_are_seen_alike() -> None:
    """Bids and asks exchanged, prices mirrored: every order has the same features."""
    messages = busy(600, seed=3)
    mirrored = messages.copy()
    mirrored["side"] = -messages["side"]
    priced = np.isin(messages["action"], (ADD, MODIFY))
    mirrored["price_ticks"][priced] = 2_000 - messages["price_ticks"][priced]
    at = arrivals_of(messages)
    np.testing.assert_allclose(
        arrival_features(mirrored, at), arrival_features(messages, at), atol=1e-9
    )


def test_lots_and_levels_of_price_have_no_scale() -> None:
    """Lots ten times as small, or a price a thousand ticks higher, change nothing."""
    messages = busy(600, seed=4)
    other = messages.copy()
    other["quantity_lots"] *= 10
    other["price_ticks"][np.isin(messages["action"], (ADD, MODIFY))] += 1_000
    at = arrivals_of(messages)
    np.testing.assert_allclose(
        arrival_features(other, at), arrival_features(messages, at), atol=1e-9
    )


def test_hidden_executions_are_told() -> None:
    """One hidden sell just before an order shows in that order's opposite flow, and not before."""
    messages = feed((ADD, 1, 1, 100, 5), (ADD, 2, -1, 102, 5), (ADD, 3, 1, 99, 5))
    rows = arrival_features(messages, np.array([1, 2]), hidden=[(2, 25_000_000, -1)])
    found = dict(zip(FEATURES, rows.T.tolist(), strict=True))
    assert found["opposite_hidden_60s"][0] == 0
    assert found["opposite_hidden_60s"][1] == pytest.approx(math.asinh(1), rel=1e-3)
    assert found["own_hidden_60s"] == [0, 0]


def test_odd_books_are_described_all_the_same() -> None:
    """Empty, one-sided, cleared and crossed books, unknown ids: finite numbers everywhere."""
    messages = feed(
        (ADD, 1, 1, 100, 5),
        (ADD, 2, 1, 101, 5),
        (DELETE, 9, 0, 0, 0),
        (CLEAR, 0, 0, 0, 0),
        (ADD, 3, -1, 99, 5),
        (ADD, 4, 1, 120, 5),
        (ADD, 5, -1, 98, 1),
    )
    found = arrival_features(messages, arrivals_of(messages))
    assert found.shape == (5, len(FEATURES))
    assert np.isfinite(found).all()


def test_a_move_is_an_arrival() -> None:
    """An order that moves is described before it leaves its old place, on its own side."""
    messages = feed((ADD, 1, -1, 110, 5), (ADD, 2, 1, 100, 5), (MODIFY, 1, 0, 105, 5))
    (row,) = arrival_features(messages, np.array([2]))
    found = dict(zip(FEATURES, row.tolist(), strict=True))
    assert found["ticks_to_opposite"] == pytest.approx(math.asinh(5))
    assert found["improves"] == 1


def test_places_must_grow() -> None:
    """Repeated, falling, or outside the messages: refused."""
    messages = feed((ADD, 1, 1, 100, 5), (ADD, 2, 1, 100, 5))
    for places in ([0, 0], [1, 0], [2], [-1]):
        with pytest.raises(InvalidInput, match="arrivals"):
            arrival_features(messages, np.array(places))
    assert arrival_features(messages, np.array([], np.int64)).shape == (0, len(FEATURES))


def test_names_are_distinct() -> None:
    """No two features share a name."""
    assert len(FEATURES) == len(set(FEATURES))
