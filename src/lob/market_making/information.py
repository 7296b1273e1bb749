"""What trading with the better informed costs, and how much of it there is."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from lob.bounds import Floats, not_negative, number, positive, row, same_length, share, whole
from lob.errors import InvalidInput
from lob.types import Side

MIN_PRICES = 3
_STANDARD = NormalDist()


@dataclass(frozen=True, slots=True)
class GlostenMilgromQuotes:
    """Zero-profit quotes, the expected value between them, and the odds that each trade tells.

    `p_after_buy` and `p_after_sell` are the probabilities of the high value after such a trade.
    """

    bid: float
    ask: float
    expected_value: float
    p_after_buy: float
    p_after_sell: float

    @property
    def spread(self) -> float:
        """Return ask minus bid."""
        return self.ask - self.bid


def glosten_milgrom(
    p: float, v_low: float, v_high: float, mu: float, uninformed_buy: float = 0.5
) -> GlostenMilgromQuotes:
    """Return the quotes of a competitive maker who may meet the informed.

    L. Glosten and P. Milgrom, "Bid, ask and transaction prices in a specialist market with
    heterogeneously informed traders" (J. Financial Economics 14, 1985), with two values: `p` is the
    probability of `v_high`, `mu` the share of traders who know, `uninformed_buy` how often the
    others buy. Ask = E[V | buy] and bid = E[V | sell]; at p = 1/2 the spread is
    mu (v_high - v_low).

    >>> quotes = glosten_milgrom(0.5, 99.0, 101.0, 0.2)
    >>> round(quotes.bid, 9), round(quotes.ask, 9)
    (99.8, 100.2)
    """
    v_low, v_high = number("v_low", v_low), number("v_high", v_high)
    if not v_high >= v_low:
        raise InvalidInput(f"v_high: {v_high}; allowed: {v_low} or more (v_low)")
    after_buy = glosten_milgrom_posterior(p, mu, [Side.BUY], uninformed_buy)
    after_sell = glosten_milgrom_posterior(p, mu, [Side.SELL], uninformed_buy)
    gap = v_high - v_low
    return GlostenMilgromQuotes(
        v_low + gap * after_sell, v_low + gap * after_buy, v_low + gap * p, after_buy, after_sell
    )


def glosten_milgrom_posterior(
    p: float, mu: float, trades: Iterable[Side], uninformed_buy: float = 0.5
) -> float:
    """Return the probability of the high value after a run of buys and sells, by Bayes.

    With `mu` 0 trades tell nothing; with `mu` 1 the first one tells all, and one that contradicts
    what is certain already changes nothing.

    >>> round(glosten_milgrom_posterior(0.5, 0.2, [Side.BUY, Side.SELL, Side.BUY]), 9)
    0.6
    """
    p, mu = share("p", p), share("mu", mu)
    buys = share("uninformed_buy", uninformed_buy)
    for side in trades:
        by_chance = (1 - mu) * (buys if side is Side.BUY else 1 - buys)
        high = by_chance + (mu if side is Side.BUY else 0.0)
        low = by_chance + (mu if side is Side.SELL else 0.0)
        total = p * high + (1 - p) * low
        p = p * high / total if total > 0 else p
    return p


def roll_covariance(prices: ArrayLike) -> float:
    """Return the first autocovariance of the changes of a series of trade prices.

    Mean of the products of neighbouring changes less the product of their means (divided by their
    number, not that less one). Three prices or more.
    """
    changes = np.diff(row("prices", prices, at_least=MIN_PRICES))
    first, second = changes[:-1], changes[1:]
    return float((first * second).mean() - first.mean() * second.mean())


def roll_spread(prices: ArrayLike) -> float:
    """Return the effective spread 2 sqrt(-cov) that the bounce between bid and ask tells.

    R. Roll, "A simple implicit measure of the effective bid-ask spread in an efficient market"
    (J. Finance 39, 1984). A covariance above 0, which the model cannot have, gives 0.

    >>> round(roll_spread([10.0, 10.1, 10.0, 10.1, 10.1, 10.0, 10.0, 10.1, 10.0, 10.1]), 4)
    0.1414
    """
    return 2 * math.sqrt(max(0.0, -roll_covariance(prices)))


def pin(alpha: float, mu: float, epsilon_buy: float, epsilon_sell: float | None = None) -> float:
    """Return the probability that a trade is informed: alpha mu / (alpha mu + eps_b + eps_s).

    D. Easley, N. Kiefer, M. O'Hara and J. Paperman, "Liquidity, information, and infrequently
    traded stocks" (J. Finance 51, 1996): `alpha` is the probability of news in a day, `mu`
    the informed rate on such days, the epsilons (one if not told apart) the rates of the others.

    >>> pin(0.5, 20.0, 20.0)
    0.2
    """
    informed = share("alpha", alpha) * not_negative("mu", mu)
    buyers = not_negative("epsilon_buy", epsilon_buy)
    sellers = buyers if epsilon_sell is None else not_negative("epsilon_sell", epsilon_sell)
    return informed / positive("alpha mu + epsilon", informed + buyers + sellers)


def bulk_buy_volumes(volumes: ArrayLike, price_changes: ArrayLike, sigma: float) -> Floats:
    """Return the part of each bar's volume that counts as bought: volume Phi(change / sigma).

    Bulk volume classification of D. Easley, M. Lopez de Prado and M. O'Hara, "Flow toxicity and
    liquidity in a high-frequency world" (Review of Financial Studies 25, 2012); `sigma` is
    the standard deviation of the price changes.
    """
    bars = row("volumes", volumes, low=0)
    changes = row("price_changes", price_changes)
    same_length(volumes=bars, price_changes=changes)
    sigma = positive("sigma", sigma)
    shares = np.array([_STANDARD.cdf(change / sigma) for change in changes.tolist()])
    return np.asarray(bars * shares)


def vpin(buy_volumes: ArrayLike, sell_volumes: ArrayLike, window: int) -> Floats:
    """Return the volume-synchronised probability of informed trading over the last n buckets.

    sum |buys - sells| / sum (buys + sells) over `window` buckets of equal volume (Easley, Lopez de
    Prado and O'Hara 2012), one value for each full window.

    >>> vpin([80.0, 50.0, 20.0], [20.0, 50.0, 80.0], window=2).tolist()
    [0.3, 0.3]
    """
    buys = row("buy_volumes", buy_volumes, low=0)
    sells = row("sell_volumes", sell_volumes, low=0)
    same_length(buy_volumes=buys, sell_volumes=sells)
    window = whole("window", window, 1, len(buys))
    every = np.lib.stride_tricks.sliding_window_view(
        np.stack((np.abs(buys - sells), buys + sells)), window, axis=1
    )
    apart, traded = every.sum(axis=2)
    if (traded <= 0).any():
        raise InvalidInput("buy_volumes: a window without volume; allowed: above 0 in each window")
    return np.asarray(apart / traded)
