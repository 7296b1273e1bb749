"""A market-by-order limit order book simulator: pure, integer, replayable.

Nothing here reads a clock, a global random generator, the network or the environment.
"""

from lob.book import OrderBook

__all__ = ["OrderBook"]
