"""A file as the market of a product: which files fit, and how they are opened."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Final

from lob.errors import ConfigError, InvalidInput
from lob.feeds import detect_format, open_feed, own_instrument
from lob.feeds.base import Feed, FeedBlock
from lob.live_feed import BLOCK_ROWS, FeedMarket
from lob.types import Instrument
from touchstone.exchange.products import Product

_LOOKED_AT: Final = 100_000
"""Messages, for the first mid of a file that does not begin with a book."""


class RescaledFeed(Feed):
    """A feed's messages in the ticks and lots of another instrument."""

    format = "rescaled"

    def __init__(self, source: Feed, instrument: Instrument) -> None:
        """Raise `InvalidInput` unless the source's steps are whole multiples of the other's."""
        super().__init__(source.path, instrument, block_rows=source.block_rows)
        own = source.instrument
        self.source = source
        self._ticks = _multiple("tick size", own.tick_size, instrument.tick_size)
        self._lots = _multiple("lot size", own.lot_size, instrument.lot_size)

    def blocks(self) -> Iterator[FeedBlock]:
        """Yield the source's blocks with other prices and quantities."""
        self.restart()
        for block in self.source.blocks():
            messages = block.messages.copy()
            messages["price_ticks"] *= self._ticks
            messages["quantity_lots"] *= self._lots
            messages["display_lots"] *= self._lots
            self.summary = self.source.summary
            self.bytes_done, self.bytes_total = self.source.bytes_done, self.source.bytes_total
            yield block._replace(messages=messages)


def open_replay(product: Product, path: Path) -> FeedMarket:
    """Return the market of a file of orders, with what rested at its start in the book.

    Any format that `lob.feeds` reads. What the file says of its ticks and lots must be whole
    multiples of the product's; a file that says nothing is taken to be in the product's.

    Raises:
        ConfigError: no such file, of no known format, of other ticks or lots, or without an order.
    """
    feed = open_fitting(product, path)
    try:
        market = FeedMarket(feed)
    except InvalidInput as error:
        raise _unfit(product, path, str(error)) from None
    if market.ended and not len(market.book):
        raise _unfit(product, path, "no order in it; allowed: at least one")
    market.name = feed.source.format
    return market


def open_fitting(product: Product, path: Path) -> RescaledFeed:
    """Return a file's messages in a product's ticks and lots; raises `ConfigError` as above."""
    try:
        form = detect_format(path)
        own = own_instrument(path, form) or product.instrument
        feed = open_feed(path, format=form, instrument=own, block_rows=BLOCK_ROWS)
        return RescaledFeed(feed, product.instrument)
    except InvalidInput as error:
        raise _unfit(product, path, str(error)) from None


def opening_mid_ticks(product: Product, path: Path) -> float | None:
    """Return the first mid that a file's book has; None where it has none for long."""
    market = open_replay(product, path)
    for _ in range(_LOOKED_AT):
        if market.ended or market.book.mid_ticks() is not None:
            break
        market.step()
    return market.book.mid_ticks()


def _unfit(product: Product, path: Path, why: str) -> ConfigError:
    said = why if str(path) in why else f"{path}: {why}"
    return ConfigError(f"flow file of {product.product_id}: {said}")


def _multiple(name: str, found: Decimal, wanted: Decimal) -> int:
    if found % wanted:
        raise InvalidInput(
            f"{name}: {found}; allowed: a whole multiple of {wanted}, which is the product's"
        )
    return int(found / wanted)
