"""All markets of a venue with the index prices that tie them together."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path

from lob.errors import ConfigError, Conflict, NotFound
from lob.live_feed import FeedMarket
from lob.types import Event
from touchstone.exchange.background import Arbitrageur, make_flow
from touchstone.exchange.config import ExchangeConfig
from touchstone.exchange.index import CoinIndex, quantum_of
from touchstone.exchange.market import Market
from touchstone.exchange.products import Product
from touchstone.exchange.replayed import open_fitting, open_replay, opening_mid_ticks


class Marketplace:
    """Open a market for each product and an index for each coin; move the indices each second.

    The first product of a coin that is replayed from a file gives the coin's index: the mid of the
    file's book, on the same grid of seconds.
    """

    def __init__(self, config: ExchangeConfig) -> None:
        """Raise `ConfigError` for a file that does not fit its product, or a product unknown."""
        self._paused = False
        files = _open_files(config)
        self.indices = _open_indices(config, files)
        self.markets = {
            product.product_id: self._open(product, config, files.get(product.product_id))
            for product in config.products
        }
        self._told = {coin: index.price for coin, index in self.indices.items()}
        self._leaders = {
            product.coin: product.product_id
            for product in reversed(config.products)
            if product.product_id in files
        }

    def index(self, product: Product) -> Decimal:
        """Return the index price of a product's coin."""
        return self.indices[product.coin].price

    def move_index(self, coin: str, price: Decimal) -> None:
        """Let a coin's index jump, as news would; the arbitrage follows with the next second.

        Raises:
            NotFound: no such coin.
            Conflict: the coin's index is a file's.
            InvalidInput: a price that is not above 0.
        """
        if coin not in self.indices:
            raise NotFound(f"coin: {coin!r}; allowed: {', '.join(self.indices)}")
        if coin in self._leaders:
            raise Conflict(f"coin: {coin!r} follows the file of {self._leaders[coin]}")
        self.indices[coin].move_to(price)

    def pause(self, now_ns: int) -> None:
        """Let the background and the indices stand still."""
        self._paused = True
        for market in self.markets.values():
            market.pause_flow(now_ns)

    def resume(self, now_ns: int) -> None:
        """Let them go on from where they stopped."""
        self._paused = False
        for market in self.markets.values():
            market.resume_flow(now_ns)

    def step_second(self, now_ns: int) -> Iterator[tuple[Market, Sequence[Event]]]:
        """Move the indices and let every market hear of it; yield what arbitrage traded.

        To be called once a second of exchange time; while paused nothing happens.
        """
        if self._paused:
            return
        before = self._told
        for coin, index in self.indices.items():
            leader = self._leaders.get(coin)
            mid = None if leader is None else self.markets[leader].mid()
            if leader is None:
                index.walk()
            elif mid is not None:
                index.move_to(mid)
        self._told = {coin: index.price for coin, index in self.indices.items()}
        for market in self.markets.values():
            coin = market.product.coin
            events = market.hear_index(before[coin], self._told[coin], now_ns)
            if events:
                yield market, events

    def _open(self, product: Product, config: ExchangeConfig, file: FeedMarket | None) -> Market:
        price = self.index(product)
        flow = make_flow(
            config.flow,
            product,
            seed=config.seed,
            price=price,
            rate=config.flow_rate,
            size=config.flow_size,
        )
        return Market(
            product,
            run=config.run,
            start_ns=config.start_ns,
            background=flow if file is None else file,
            arbitrageur=Arbitrageur(config.arbitrage_band),
            opening_price=price,
            flow_size=config.flow_size,
        )


def require_files(config: ExchangeConfig) -> None:
    """Raise `ConfigError` unless each file to replay is there and fits its product.

    A venue that is opened says so itself; one that is restored from its state has to be asked.
    """
    for product, path in _replayed(config):
        open_fitting(product, path)


def _open_files(config: ExchangeConfig) -> dict[str, FeedMarket]:
    return {product.product_id: open_replay(product, path) for product, path in _replayed(config)}


def _replayed(config: ExchangeConfig) -> Iterator[tuple[Product, Path]]:
    products = {product.product_id: product for product in config.products}
    for name, path in config.flow_files.items():
        if name not in products:
            raise ConfigError(f"flow_files: {name!r}; allowed: {', '.join(products)}")
        yield products[name], Path(path)


def _open_indices(config: ExchangeConfig, files: dict[str, FeedMarket]) -> dict[str, CoinIndex]:
    coins: dict[str, list[Product]] = {}
    for product in config.products:
        coins.setdefault(product.coin, []).append(product)
    indices = {}
    for coin, products in coins.items():
        price = products[0].reference_price
        for product in reversed(products):
            file = files.get(product.product_id)
            if file is None:
                continue
            mid_ticks = file.book.mid_ticks()
            if mid_ticks is None:
                mid_ticks = opening_mid_ticks(product, config.flow_files[product.product_id])
            if mid_ticks is not None:
                price = product.instrument.tick_size * Decimal(mid_ticks)
        indices[coin] = CoinIndex(
            coin,
            price,
            quantum=quantum_of(products),
            volatility=config.index_volatility.get(coin, 0.0),
            seed=config.seed,
        )
    return indices
