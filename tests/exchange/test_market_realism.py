"""What comes out of a perpetual's background, by the measures that real markets are held to.

`python -m tests.exchange.test_market_realism 60` prints the table of docs/paper-exchange.md.
"""

import sys
from collections.abc import Mapping
from decimal import Decimal
from functools import cache

import numpy as np
import pytest

from lob import OrderBook
from lob.calibration.measures import flatten, measure
from lob.calibration.tape import make_tape
from lob.recording import Recording, record
from lob.types import Command, Submit
from touchstone.exchange.background import Arbitrageur, FlowKind, make_flow, tell
from touchstone.exchange.index import SECOND_NS, USUAL_VOLATILITY, CoinIndex, quantum_of
from touchstone.exchange.products import PRODUCTS, Product

BTC = PRODUCTS[0]
BPS = 1e4


class Background:
    """A product's flow, index and arbitrageur as one flow, so that it can be recorded.

    `seen` has, each second: premium of the mid and spread in basis points, and the depth of both
    sides within 10 of them in the settlement currency.
    """

    def __init__(self, product: Product, seed: int) -> None:
        self.instrument = product.instrument
        self.now_ns = 0
        self.seen: list[tuple[float, float, float]] = []
        flow = make_flow(FlowKind.CLUSTERED, product, seed=seed, price=product.reference_price)
        assert flow is not None
        self._product = product
        self._flow = flow
        self._index = CoinIndex(
            product.coin,
            product.reference_price,
            quantum=quantum_of([product]),
            volatility=USUAL_VOLATILITY[product.coin],
            seed=seed,
        )
        self._arbitrageur = Arbitrageur(Decimal("0.001"))
        self._next: tuple[int, Command] | None = None

    def seed_book(self) -> list[Submit]:
        """Return the first orders."""
        return self._flow.seed_book()

    def step(self, book: OrderBook) -> tuple[int, Command]:
        """Return what comes next, as a market does: the grid's second before the flow."""
        if self._next is None:
            self._next = self._flow.step(book)
        while self._next[0] >= self.now_ns // SECOND_NS * SECOND_NS + SECOND_NS:
            self.now_ns = self.now_ns // SECOND_NS * SECOND_NS + SECOND_NS
            command = self._second(book)
            if command is not None:
                return self.now_ns, command
        (self.now_ns, command), self._next = self._next, None
        return self.now_ns, command

    def _second(self, book: OrderBook) -> Command | None:
        before = self._index.price
        self._index.walk()
        tick = self.instrument.tick_size
        tell(self._flow, before, self._index.price, tick)
        mid, spread = book.mid_ticks(), book.spread_ticks()
        if mid is not None and spread is not None:
            index = float(self._index.price / tick)
            lots = sum(
                level.quantity_lots
                for side in book.depth(500)
                for level in side
                if abs(level.price_ticks - mid) * BPS <= 10 * mid
            )
            depth = float(self._product.value(self._index.price, lots))
            self.seen.append(((mid / index - 1) * BPS, spread / mid * BPS, depth))
        return self._arbitrageur.look(book, self._index.price, tick)


@cache
def a_stretch(
    product: Product, seconds: int = 600, seed: int = 5
) -> tuple[Mapping[str, float], np.ndarray, Recording]:
    """Return the figures of a stretch of background, what was seen each second, and the record."""
    background = Background(product, seed)
    recorded = record(background, 10**9, until_ns=seconds * SECOND_NS)
    figures = flatten(measure(make_tape(recorded.feed, product.instrument)))
    return figures, np.array(background.seen), recorded


@pytest.mark.parametrize("place", [0, 3])
def test_spread_and_depth_are_a_perpetuals(place: int) -> None:
    """A spread of a few ticks or basis points, always two sides, some millions deep."""
    _, seen, _ = a_stretch(PRODUCTS[place])
    premium, spread, depth = seen.T
    assert 600 == len(seen)
    assert 1.0 <= np.median(spread) <= 3.0
    assert 200_000 <= np.median(depth) <= 5_000_000
    assert np.abs(premium).max() < 25
    assert np.abs(premium.mean()) < 2


def test_trades_cluster_and_their_signs_persist() -> None:
    """Signs of trades are correlated over tens of trades; arrivals come in bursts."""
    figures, _, _ = a_stretch(BTC)
    assert figures["trade_sign_acf.1"] > 0.4
    assert figures["trade_sign_acf.5"] > 0.1
    assert abs(figures["trade_sign_acf.50"]) < 0.15
    assert figures["fano_1s_book_events"] > 5
    assert figures["interarrival.cv"] > 2
    assert 0.5 <= figures["aggressive_orders_per_s"] <= 4
    assert 10 <= sum(figures[f"events_per_s.{kind}"] for kind in ("add", "cancel", "exec")) <= 60


def test_orders_are_fleeting_and_returns_are_not_predictable() -> None:
    """Half of the cancels come within a second; returns over 10 s have next to no memory."""
    figures, _, _ = a_stretch(BTC)
    assert 0.02 <= figures["lifetime_cancel_s.0.5"] <= 2
    assert figures["lifetime_cancel_s.0.9"] > 2
    assert abs(figures["mid_return.10.acf1"]) < 0.25
    assert figures["mid_return.1.ex_kurt"] > 1
    assert figures["response_ticks.1"] > 0
    a_year = figures["mid_return.60.std_ticks"] * (365 * 1440) ** 0.5
    price_ticks = float(BTC.reference_price / BTC.instrument.tick_size)
    assert 0.25 <= a_year / price_ticks <= 0.8


def main(minutes: int) -> None:
    """Print the table of the documentation."""
    names = [product.product_id for product in PRODUCTS]
    rows: dict[str, list[str]] = {}
    for product in PRODUCTS:
        figures, seen, recorded = a_stretch(product, minutes * 60)
        premium, spread, depth = seen.T
        cells = {
            "commands a second": len(recorded.commands) / minutes / 60,
            "trades (aggressive orders) a second": figures["aggressive_orders_per_s"],
            "cancels for each limit order": figures["cancel_to_add"],
            "spread, bps: median": np.median(spread),
            "spread, bps: 99 %": np.quantile(spread, 0.99),
            "depth within 10 bps, both sides, $1,000: median": np.median(depth) / 1_000,
            "depth within 10 bps, $1,000: 5 %": np.quantile(depth, 0.05) / 1_000,
            "premium to the index, bps: deviation": premium.std(),
            "premium to the index, bps: largest": np.abs(premium).max(),
            "sign of trades: autocorrelation at 1": figures["trade_sign_acf.1"],
            "sign of trades: autocorrelation at 10": figures["trade_sign_acf.10"],
            "cancelled orders' age, s: median": figures["lifetime_cancel_s.0.5"],
            "cancelled orders' age, s: 90 %": figures["lifetime_cancel_s.0.9"],
            "events of the touch in 1 s: variance over mean": figures["fano_1s_book_events"],
            "1 s returns: excess kurtosis": figures["mid_return.1.ex_kurt"],
            "1 s returns: autocorrelation": figures["mid_return.1.acf1"],
            "10 s returns: autocorrelation": figures["mid_return.10.acf1"],
            "60 s returns: volatility a year": figures["mid_return.60.std_ticks"]
            * (365 * 1440) ** 0.5
            / float(product.reference_price / product.instrument.tick_size),
        }
        for name, value in cells.items():
            rows.setdefault(name, []).append(f"{value:,.0f}" if value > 100 else f"{value:.3g}")
    sys.stdout.write(f"| | {' | '.join(names)} |\n|---|{'---|' * len(names)}\n")
    for name, row in rows.items():
        sys.stdout.write(f"| {name} | {' | '.join(row)} |\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
