"""A market-by-order limit order book simulator: pure, integer, replayable.

`OrderBook` is the native book where its extension was built and the plain Python one elsewhere:
`backend()` says which, and both keep the same rules. Nothing here reads a clock, a global random
generator, the network or the environment.
"""

from typing import TYPE_CHECKING

from lob.messages import MESSAGE_DTYPE, TRADE_DTYPE, Action, Flag

if TYPE_CHECKING:
    # One interface: type checkers see the plain Python book, whichever is there.
    from lob.book import OrderBook
    from lob.bulk import CompiledTape
else:
    try:
        from lob.native import CompiledTape
        from lob.native import NativeOrderBook as OrderBook
    except ImportError:
        from lob.book import OrderBook

        try:
            from lob.bulk import CompiledTape
        except ImportError:
            CompiledTape = None

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
    return "native" if OrderBook.__module__ == "lob.native" else "python"
