"""Index prices: seeded walks on a grid of seconds, one for each coin."""

import math
import pickle
import statistics
from decimal import Decimal
from itertools import pairwise

import pytest

from lob.errors import InvalidInput, NotFound
from touchstone.exchange import Exchange, ExchangeConfig
from touchstone.exchange.background import FlowKind
from touchstone.exchange.index import CoinIndex, quantum_of
from touchstone.exchange.products import PRODUCTS

SECOND_NS = 1_000_000_000
BTC, ETH, BIP, ETP = PRODUCTS


def walked(seed: int, steps: int, volatility: float = 0.5) -> list[Decimal]:
    """Return the prices of a walk that starts at 100,000."""
    index = CoinIndex(
        "BTC", Decimal(100_000), quantum=Decimal("0.01"), volatility=volatility, seed=seed
    )
    prices = []
    for _ in range(steps):
        index.walk()
        prices.append(index.price)
    return prices


def quiet(**options: object) -> Exchange:
    """Return a venue with empty books."""
    return Exchange(ExchangeConfig(flow=FlowKind.NONE, **options))  # type: ignore[arg-type]


def test_one_seed_is_one_walk() -> None:
    """Another seed is another; prices are whole quanta."""
    assert walked(1, 500) == walked(1, 500) != walked(2, 500)
    assert all(0 == price % Decimal("0.01") for price in walked(1, 500))


def test_the_walk_has_the_volatility_asked_for() -> None:
    """Within a few percent over 20,000 seconds; with none it stands still."""
    prices = [math.log(price) for price in walked(4, 20_000)]
    moves = [later - sooner for sooner, later in pairwise(prices)]
    a_year = statistics.pstdev(moves) * math.sqrt(365 * 86_400)
    assert 0.5 == pytest.approx(a_year, rel=0.03)
    assert {Decimal(100_000)} == set(walked(4, 100, volatility=0.0))


def test_a_pickled_walk_goes_on_as_it_would_have() -> None:
    """Price, random numbers and the count of steps are kept."""
    index = CoinIndex("ETH", Decimal(4_000), quantum=Decimal("0.001"), volatility=0.6, seed=3)
    for _ in range(10):
        index.walk()
    again = pickle.loads(pickle.dumps(index))  # noqa: S301 - our own bytes
    for _ in range(10):
        index.walk()
        again.walk()
    assert (20, index.price) == (again.steps, again.price)


@pytest.mark.parametrize("volatility", [-0.1, 11.0, math.nan])
def test_a_volatility_that_is_none_is_refused(volatility: float) -> None:
    """The message names the coin and what is allowed."""
    with pytest.raises(InvalidInput, match=r"index_volatility: .* of BTC; allowed: 0..10"):
        walked(1, 1, volatility)


def test_both_families_share_the_index_of_their_coin() -> None:
    """It moves each whole second of exchange time, however the time is cut."""
    whole, cut = quiet(start_ns=300_000_000), quiet(start_ns=300_000_000)
    whole.advance(30 * SECOND_NS)
    for now_ms in range(300, 30_000 + 1, 270):
        cut.advance(now_ms * 1_000_000)
    for exchange in (whole, cut):
        place = exchange.marketplace
        assert place.index(BTC) == place.index(BIP) != BTC.reference_price
        assert place.index(ETH) == place.index(ETP) != ETH.reference_price
    assert whole.marketplace.index(BTC) == cut.marketplace.index(BTC)
    assert 30 == whole.marketplace.indices["BTC"].steps


def test_paused_indices_stand_still() -> None:
    """And go on with the same walk."""
    paused, free = quiet(), quiet()
    for exchange in (paused, free):
        exchange.advance(5 * SECOND_NS)
    paused.flow_paused = True
    paused.advance(100 * SECOND_NS)
    assert free.marketplace.index(BTC) == paused.marketplace.index(BTC)
    paused.flow_paused = False
    paused.advance(105 * SECOND_NS)
    free.advance(10 * SECOND_NS)
    assert free.marketplace.index(BTC) == paused.marketplace.index(BTC)


def test_an_index_can_be_made_to_jump() -> None:
    """To any price above 0, of a coin that there is."""
    place = quiet().marketplace
    place.move_index("BTC", Decimal("88000.126"))
    assert Decimal("88000.13") == place.index(BIP)
    with pytest.raises(NotFound, match="coin: 'DOGE'; allowed: BTC, ETH"):
        place.move_index("DOGE", Decimal(1))
    with pytest.raises(InvalidInput, match="index: 0 of BTC; allowed: above 0, at most 1000000000"):
        place.move_index("BTC", Decimal(0))


def test_an_index_is_finer_than_its_finest_tick() -> None:
    """By one decimal."""
    assert (Decimal("0.01"), Decimal("0.001")) == (quantum_of([BTC, BIP]), quantum_of([ETH, ETP]))
