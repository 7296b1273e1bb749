"""A market-by-order limit order book simulator: pure, integer, replayable.

`OrderBook` is the native book where its extension was built and the plain Python one elsewhere:
`backend()` says which, and both keep the same rules. Nothing here reads a clock, a global random
generator, the network or the environment.

The models of the literature, each function under its paper's name (docs/models.md): `lob.impact`,
`lob.queueing`, `lob.fill_probability`, `lob.latency`, `lob.hidden`, `lob.dark`, `lob.market_making`
(Avellaneda and Stoikov, and on) and `lob.hawkes`.
"""

from typing import TYPE_CHECKING, Any

from lob.messages import MESSAGE_DTYPE, TRADE_DTYPE, Action, Flag

if TYPE_CHECKING:
    # One interface: type checkers see the plain Python book, whichever is there.
    from lob.book import OrderBook
    from lob.bulk import CompiledTape

__all__ = [
    "MESSAGE_DTYPE",
    "TRADE_DTYPE",
    "Action",
    "CompiledTape",
    "Flag",
    "OrderBook",
    "backend",
]


def backend() -> str:
    """Return which book `OrderBook` is: "native", or "python" where no extension was built."""
    return "native" if __getattr__("OrderBook").__module__ == "lob.native" else "python"


def __getattr__(name: str) -> Any:
    # The book is loaded when it is first named: whoever reads a feed or a type needs none of it.
    if name not in ("OrderBook", "CompiledTape"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: dict[str, Any]
    try:
        from lob import native  # noqa: PLC0415 - as said above
    except ImportError:
        from lob import book, bulk  # noqa: PLC0415 - where nothing was built

        found = {"OrderBook": book.OrderBook, "CompiledTape": bulk.CompiledTape}
    else:
        found = {"OrderBook": native.NativeOrderBook, "CompiledTape": native.CompiledTape}
    globals().update(found)
    return found[name]
