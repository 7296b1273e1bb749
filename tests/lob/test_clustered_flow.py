"""The clustered flow is seeded, never crosses, leaves two sides, and its profile is plain."""

import json
from dataclasses import replace
from decimal import Decimal
from itertools import islice
from pathlib import Path

import pytest

from lob import OrderBook
from lob.clustered_flow import ClusteredFlow, ClusteredProfile, generate, load_profile
from lob.clustered_profile import save_profile
from lob.errors import InvalidInput
from lob.recording import record
from lob.types import AssetClass, Instrument, OrderType, Side, Submit

SHARE = Instrument(
    symbol="MADE", asset_class=AssetClass.EQUITY, tick_size=Decimal("0.01"), lot_size=Decimal(1)
)
QUICK = replace(load_profile(), warm_up_seconds=20.0)


def flow(seed: int, **options: object) -> ClusteredFlow:
    """Return a flow that warms up for a moment only."""
    return ClusteredFlow(SHARE, seed, 10_000, profile=QUICK, **options)  # type: ignore[arg-type]


def test_one_seed_is_one_tape_byte_for_byte() -> None:
    """Another seed is another tape."""
    first, second, other = (record(flow(seed), 3_000) for seed in (7, 7, 8))

    assert first.commands.tobytes() == second.commands.tobytes()
    assert first.feed.tobytes() == second.feed.tobytes()
    assert first.hidden.tobytes() == second.hidden.tobytes()
    assert first.commands.tobytes() != other.commands.tobytes()


def test_the_book_is_two_sided_and_never_crossed() -> None:
    """After each of many commands; times never go back."""
    source = flow(3)
    book = source.seeded_book()
    before = 0
    for _ in range(5_000):
        timestamp_ns, command = source.step(book)
        book.apply(command)
        bid, ask = book.best_bid(), book.best_ask()
        assert bid is not None
        assert ask is not None
        assert bid.price_ticks < ask.price_ticks
        assert before <= timestamp_ns
        before = timestamp_ns
    book.check()


def test_the_first_book_stands_around_the_price_asked_for() -> None:
    """Whatever the warm-up did to the price."""
    book = flow(5).seeded_book()
    bid, ask = book.best_bid(), book.best_ask()
    assert bid is not None
    assert ask is not None
    assert abs((bid.price_ticks + ask.price_ticks) / 2 - 10_000) <= 1


def test_all_orders_are_the_participants_and_within_the_ids() -> None:
    """Ids are used again once they are free."""
    ids = range(1_000, 3_000)
    source = flow(5, participant_id=42, order_ids=ids, start_ns=99)
    book = source.seeded_book()
    for _ in range(6_000):
        timestamp_ns, command = source.step(book)
        assert 99 <= timestamp_ns
        assert command.order_id in ids
        if isinstance(command, Submit):
            assert 42 == command.participant_id
        book.apply(command)


def test_the_flow_lives_with_another_who_trades() -> None:
    """A stranger sweeps the asks again and again: the side is filled up."""
    source = flow(9)
    book = source.seeded_book()
    for number in range(3_000):
        _, command = source.step(book)
        book.apply(command)
        if number % 50 == 0:
            stranger = Submit(
                10**12 + number, Side.BUY, 10**6, order_type=OrderType.MARKET, participant_id=2
            )
            book.apply(stranger)
    for _ in range(500):
        book.apply(source.step(book)[1])
    assert book.best_ask() is not None
    assert book.best_bid() is not None


def test_generate_gives_the_book_and_then_what_a_flow_gives() -> None:
    """The same commands at the same times as step by step."""
    source = flow(4, start_ns=1_000)
    book = source.seeded_book()
    count = len(book)
    expected = []
    for _ in range(300):
        timed = source.step(book)
        book.apply(timed[1])
        expected.append(timed)

    drawn = list(islice(generate(SHARE, 4, 10_000, profile=QUICK, start_ns=1_000), count + 300))
    assert expected == drawn[count:]
    assert {1_000} == {timestamp_ns for timestamp_ns, _ in drawn[:count]}
    again = OrderBook(SHARE)
    for _, command in drawn:
        again.apply(command)
    assert book.state_hash() == again.state_hash()


def test_the_shipped_profile_is_the_default_of_generate() -> None:
    """It loads, has the figures of a liquid share, and is written back as it was."""
    shipped = load_profile()
    assert 0.5 < shipped.branching_ratio < 1
    first = next(iter(generate(SHARE, 1, 10_000)))
    assert 0 == first[0]


def test_a_profile_is_written_and_read_back(tmp_path: Path) -> None:
    """As JSON; a mapping of plain numbers gives the same."""
    path = tmp_path / "profile.json"
    save_profile(QUICK, path)

    assert load_profile(path) == load_profile(path)
    assert QUICK == load_profile(path)
    assert ClusteredProfile() == ClusteredProfile.from_mapping(ClusteredProfile().to_mapping())
    with pytest.raises(InvalidInput, match="No such file"):
        save_profile(QUICK, tmp_path / "none" / "profile.json")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"chase": 1.5}, "chase: 1.5; allowed: 0 or more, at most 1"),
        ({"decays": [3, 1]}, "decays: 1.0 after 3; allowed: increasing numbers"),
        ({"limit_offspring": [[9.0] * 6] * 6}, "branching ratio"),
        ({"limit_offspring": [[0.1]]}, "limit_offspring: 1 rows"),
        ({"sign_runs": [[1, 1]]}, "sign_runs: going on 1"),
        ({"limit_lots": [[100, 0.5]]}, "limit_lots: shares of sum 0.5; allowed: 1"),
        ({"inside_shares": [0.1]}, "inside_ticks: 8 laws; allowed: 1"),
        ({"anchor_reach_ticks": 0}, "anchor_reach_ticks: 0.0; allowed: above 0"),
        ({"lives": [[1, 0.5]]}, "lives: 1 rows"),
        ({"hidden_only": 0.7, "hidden_mixed": 0.7}, "hidden_mixed: 1.4"),
        ({"colour": 1}, "colour: unknown key"),
        ({"burst": "much"}, "'much'; allowed: numbers"),
    ],
)
def test_a_profile_that_cannot_be_is_refused(
    tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    """With the name of the key and what is allowed; a file with its own name."""
    path = tmp_path / "profile.json"
    path.write_text(json.dumps(ClusteredProfile().to_mapping() | changes))
    with pytest.raises(InvalidInput) as refused:
        load_profile(path)
    assert said in str(refused.value)
    assert "profile.json" in str(refused.value)


def test_files_that_say_no_profile_are_refused(tmp_path: Path) -> None:
    """No JSON, and no mapping."""
    for text in ("{", "[1]"):
        path = tmp_path / "profile.json"
        path.write_text(text)
        with pytest.raises(InvalidInput, match=r"profile\.json"):
            load_profile(path)
