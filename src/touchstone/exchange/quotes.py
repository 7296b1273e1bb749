"""How many lots an amount of money is: worked out over the book, so that it is never exceeded."""

from decimal import ROUND_FLOOR, Context, Decimal, InvalidOperation
from typing import Final

from lob import OrderBook
from lob.types import Side
from touchstone.exchange.products import Product

_FLOOR: Final = Context(prec=60, rounding=ROUND_FLOOR, traps=[InvalidOperation])


def lots_for_quote(
    product: Product,
    quote: Decimal,
    price_ticks: int | None,
    book: OrderBook | None,
    side: Side,
) -> int:
    """Return the most lots that trade for at most `quote`, fees apart.

    What the book offers within the limit counts at its own prices, the rest at the limit, or at the
    book's worst price where there is none. Without a book all of it counts at the limit. O(levels).
    """
    tick_value = product.instrument.tick_size * product.lot_value_per_price
    budget = int(_FLOOR.divide(quote, tick_value).to_integral_value(ROUND_FLOOR))
    lots, worst = 0, price_ticks
    if book is not None:
        most = product.instrument.round_lots(product.max_size) + 1
        for level_ticks, level_lots in book.walk(side, most, price_ticks).levels:
            take = min(level_lots, budget // level_ticks)
            lots += take
            budget -= take * level_ticks
            if take < level_lots:
                return lots
            worst = level_ticks if price_ticks is None else price_ticks
    return lots + (budget // worst if worst else 0)
