"""Any market is measured as far as it goes: what it lacks is named, nothing holds by default."""

from collections.abc import Callable
from decimal import Decimal
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from lob import MESSAGE_DTYPE, Action, Flag
from lob.errors import InvalidInput
from lob.fill_probability.forecast_features import arrival_features
from lob.flow import ZeroIntelligence
from lob.messages import Array
from lob.recording import record
from lob.types import AssetClass, Instrument
from touchstone.fidelity import forecast, shadow_orders, suite, sweeps_score
from touchstone.fidelity.evidence import Evidence
from touchstone.fidelity.forecast_labels import shadow_fills
from touchstone.fidelity.market import Market, load_market, make_market, survey_markets
from touchstone.fidelity.order_lives import LIFE_DTYPE
from touchstone.fidelity.queue_scores import joins_at_quotes
from touchstone.fidelity.sweeps_read import depths_at, sweeps_of

COIN = Instrument(
    symbol="C",
    asset_class=AssetClass.CRYPTO,
    tick_size=Decimal("0.01"),
    lot_size=Decimal("0.00000001"),
)
ADD, DELETE, REDUCE, MODIFY, EXECUTE, CLEAR = tuple(Action)[4:]
PARTS = ("shadow_orders", "queue_scores", "forecast", "sweeps")
OF_ONE = ("forecast", "sweeps")
SECOND = 1_000_000_000


def quiet(_: str) -> None:
    """Take progress without a word."""


def measured(part: str, market: Market) -> Evidence:
    """Return what a part says of a market."""
    measure = import_module(f"touchstone.fidelity.{part}").measure
    found: Evidence = measure(market if part in OF_ONE else [market], progress=quiet, seed=1)
    return found


def feed(*rows: tuple[int, int, int, int, int, int], flags: int = 0) -> Array:
    """Return messages of (time, action, order id, side, price, lots)."""
    found = np.zeros(len(rows), MESSAGE_DTYPE)
    for index, (ts, action, order_id, side, price, lots) in enumerate(rows):
        found[index] = (ts, order_id, price, lots, 0, action, side, 0, flags)
    return found


def flow(messages: int = 6_000, seed: int = 5) -> Array:
    """Return a synthetic venue's messages."""
    return record(ZeroIntelligence(COIN, seed=seed, mid_ticks=10_000), messages).feed


TINY: dict[str, Callable[[], Array]] = {
    "one order": lambda: feed((1, ADD, 1, 1, 100, 5)),
    "a clear": lambda: feed((1, CLEAR, 0, 0, 0, 0)),
    "a snapshot": lambda: feed(
        *((1, ADD, number, -1, 100 + number, 5) for number in range(1, 9)),
        flags=int(Flag.SNAPSHOT),
    ),
    "one trade": lambda: feed((1, ADD, 1, 1, 100, 5), (2 * SECOND, EXECUTE, 1, 0, 0, 5)),
    "one moment": lambda: feed(
        *(
            row
            for number in range(1, 99)
            for row in ((7, ADD, number, 1, 100, 5), (7, EXECUTE, number, 0, 0, 5))
        )
    ),
    "no trades for minutes": lambda: feed(
        *((number * SECOND, ADD, number, 1, 100, 10**9) for number in range(1, 300))
    ),
}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("name", TINY)
def test_what_a_tiny_market_lacks_is_named(name: str, part: str) -> None:
    """Nothing is raised, every bar is a check or has its reason, and none holds of no cases."""
    found = measured(part, make_market(name, COIN, TINY[name]()))
    assert found.unmeasured
    assert all(one.name.startswith(name) and one.why for one in found.unmeasured)
    assert not any(str(check.measured).endswith("of 0") for check in found.checks)
    assert [one.name for one in found.unmeasured] == [
        one["name"] for one in found.to_json()["unmeasured"]
    ]


def test_a_real_part_of_a_market_is_measured_as_far_as_it_goes(market_data: Path) -> None:
    """A thousand messages of MSFT, and a session of ES of few trades, raise nothing."""
    for name in (
        "lobster/trunc/MSFT_2012-06-21_message_50_first1000.csv",
        "databento/esm4-mbo-2024-05-08.dbn.zst",
    ):
        market = load_market(market_data / name, progress=quiet)
        exact = measured("shadow_orders", market)
        assert exact.checks
        assert exact.holds
        assert all(measured(part, market).unmeasured for part in PARTS[1:])


def crossed_opening(crossed: int) -> Array:
    """Return a flow before which so many orders cross one another, until an auction clears them."""
    rows: list[tuple[int, int, int, int, int, int]] = []
    for number in range(1, crossed + 1):
        sign = 1 if number % 2 else -1
        rows.append((number, ADD, 10**6 + number, sign, 10_000 + 5 * sign, 10))
    rows += [(crossed + 1, DELETE, 10**6 + number, 0, 0, 0) for number in range(1, crossed + 1)]
    later = flow()
    later["ts_event_ns"] += crossed + 2
    return np.concatenate([feed(*rows), later])


def test_a_crossed_opening_is_taken_for_a_snapshot() -> None:
    """The session begins where the book is crossed no more; what came before is no case."""
    messages = crossed_opening(1_000)
    market = make_market("opening", COIN, messages)
    assert 1_000 < market.first_index <= 2_000
    assert any("crossed no more" in note for note in market.notes)
    assert market.start_ns > 1_000
    assert market.orders["at_start"][:1_000].all()
    assert market.orders["arrival_index"][shadow_fills(market).rows].min() >= market.first_index
    exact = measured("shadow_orders", market)
    assert exact.holds
    # Without an opening nothing is taken away.
    assert make_market("none", COIN, flow()).first_index == 0


def test_a_market_that_is_crossed_throughout_has_no_opening() -> None:
    """It is left as it is: a survey passes it over and says why."""
    messages = crossed_opening(9_000)[:9_000]
    assert make_market("crossed", COIN, messages).first_index == 0


def test_times_that_run_back_are_put_in_order() -> None:
    """No message is earlier than the one before it, and it is said how many were."""
    messages = flow()
    messages["ts_event_ns"][100] -= 10 * SECOND
    market = make_market("back", COIN, messages)
    assert (np.diff(market.messages["ts_event_ns"]) >= 0).all()
    assert any(note.startswith("1 messages are dated back") for note in market.notes)


def test_orders_that_live_before_the_file_are_no_fault() -> None:
    """Executions and cancels of orders that the file never adds are left out, and said."""
    messages = flow()
    strangers = feed((0, EXECUTE, 10**7, 0, 0, 5), (0, DELETE, 10**7 + 1, 0, 0, 0))
    market = make_market("before", COIN, np.concatenate([strangers, messages]))
    assert len(messages) == len(market.messages)
    assert "2 messages that the book refused are left out" in market.notes


def mirrored(messages: Array) -> Array:
    """Return the same market with bids for asks."""
    found = messages.copy()
    placed = found["price_ticks"] > 0
    found["price_ticks"][placed] = 20_000 - found["price_ticks"][placed]
    found["side"] = -found["side"]
    return found


def test_features_have_no_side_and_no_lot() -> None:
    """Of a market turned round, and of one in lots of 1e-8, every order looks the same."""
    messages = flow(1_500)
    arrivals = np.flatnonzero(messages["action"] == ADD)
    plain = arrival_features(messages, arrivals)
    small = messages.copy()
    small["quantity_lots"] *= 12_345_678
    assert np.allclose(plain, arrival_features(mirrored(messages), arrivals), atol=1e-9)
    assert np.allclose(plain, arrival_features(small, arrivals), atol=1e-6)


def test_of_too_many_orders_some_are_drawn_by_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part takes as many as it can; another seed draws others, the same one the same."""
    market = make_market("many", COIN, flow())
    monkeypatch.setattr(shadow_orders, "ORDERS_MAX", 500)
    exact = shadow_orders.shadow_outcome(market, seed=1)
    assert (500, len(market.orders)) == (exact.orders, exact.arrived)
    assert exact.exact == exact.filled > 20
    assert exact == shadow_orders.shadow_outcome(market, seed=1)
    drawn = [shadow_fills(market, most=200, seed=seed).rows.tolist() for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert 200 == len(set(drawn[0]))
    monkeypatch.setattr(forecast, "_CASES_MAX", 300)
    assert 300 == len(forecast.forecast_cases(market, seed=1).features)
    monkeypatch.setattr(sweeps_score, "SWEEPS_MAX", 50)
    study = sweeps_score.study_sweeps(market, progress=quiet, seed=1)
    assert 50 == study.sweeps < study.there


def test_a_drawn_order_has_the_outcome_that_it_has_among_all() -> None:
    """Shadows do not see one another."""
    market = make_market("many", COIN, flow())
    every, some = shadow_fills(market), shadow_fills(market, most=200, seed=3)
    places = np.searchsorted(every.rows, some.rows)
    assert np.array_equal(every.fill_s[places], some.fill_s)
    assert np.array_equal(every.known_s[places], some.known_s)


def test_joins_of_a_long_market_are_further_apart() -> None:
    """A day has no more of them than two hours have."""
    messages = flow()
    messages["ts_event_ns"] *= 86_400 * SECOND // int(messages["ts_event_ns"].max())
    assert len(joins_at_quotes(make_market("day", COIN, messages))) <= 2 * 7_200


def test_a_decision_sees_the_levels_that_its_order_comes_to() -> None:
    """Two at least; the walk of them costs what that of the whole depth does."""
    market = make_market("levels", COIN, flow())
    places = np.array([met.messages_before for met in sweeps_of(market)], np.int64)[:50]
    few = depths_at(market, places, np.full(len(places), 1, np.int64))
    all_of_it = depths_at(market, places, np.full(len(places), 10**12, np.int64))
    for part, whole in zip(few, all_of_it, strict=True):
        assert part is not None
        assert whole is not None
        assert part.bids == whole.bids[: len(part.bids)]
        assert 1 <= len(part.asks) <= 2 <= len(whole.asks)


def test_lives_are_written_in_order_whatever_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are by arrival, though orders end in another order."""
    messages = flow()
    whole = make_market("whole", COIN, messages).orders
    monkeypatch.setattr("touchstone.fidelity.order_lives.CHUNK_ROWS", 7)
    assert np.array_equal(whole, make_market("parts", COIN, messages).orders)
    assert LIFE_DTYPE == whole.dtype
    assert (np.diff(whole["arrival_index"]) > 0).all()


def test_a_folder_whose_files_cannot_be_measured_says_why(tmp_path: Path) -> None:
    """Each file is named with its reason."""
    (tmp_path / "AAA_message_1.csv").write_text("34200.1,1,1,100,1000000,1\n", encoding="utf-8")
    survey = survey_markets(tmp_path)
    assert not survey.found
    with pytest.raises(InvalidInput, match=r"AAA_message_1\.csv: 0 executions; needed: 200"):
        suite.run(tmp_path, progress=quiet)
