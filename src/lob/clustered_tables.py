"""Tables that one uniform draws from, with no search: what a clustered flow looks up."""

import math
from functools import lru_cache
from typing import Final

import numpy as np

from lob.bounds import Floats
from lob.clustered_profile import ClusteredProfile, Law

GRAIN: Final = 4_096
"""Places in a table: an index is a uniform times this."""

LIMIT, CANCEL, MARKET, PULL, OWN_LIMIT, OWN_MARKET, PATIENT = range(7)
"""What may come next; the first four also come of earlier events."""

_FAR_SPREADS: Final = 1.0

PARENT_LIMIT, PARENT_CANCEL, PARENT_MARKET, PARENT_IMPROVING = range(4)
"""Events that bring others about."""


@lru_cache(maxsize=16)
def tables_of(profile: ClusteredProfile) -> "Tables":
    """Return the tables of a profile, which are not to be changed."""
    return Tables(profile)


class Tables:
    """What a profile comes to, looked up at every event."""

    def __init__(self, profile: ClusteredProfile) -> None:
        limit, cancel = np.array(profile.limit_offspring), np.array(profile.cancel_offspring)
        market, none = np.array(profile.market_offspring), np.zeros(len(profile.decays))
        waits = [1 / decay for decay in profile.decays]
        self.brought = [
            Offspring(
                (
                    *limit[2 * parent : 2 * parent + 2],
                    *cancel[2 * parent : 2 * parent + 2],
                    none if parent == PARENT_LIMIT else market[parent],
                ),
                waits,
                profile.burst,
            )
            for parent in range(3)
        ]
        hits = (none, none, none, none, market[0])
        self.brought.append(Offspring(hits, waits, profile.burst))
        self.limit_lots = drawn(profile.limit_lots)
        self.market_lots = drawn(profile.market_lots)
        self.hidden_lots = drawn(profile.hidden_lots)
        self.inside_ticks = [drawn(steps) for steps in profile.inside_ticks]
        # By cue: the odds of improving are others just after a trade.
        self.inside_shares = [
            [share * odds / (1 + share * (odds - 1)) for share in profile.inside_shares]
            for odds in (1.0, *profile.inside_after_trade)
        ]
        self.behind_ticks = drawn(profile.behind_ticks)
        levels = (np.arange(GRAIN) + 0.5) / GRAIN
        self.lives = [
            np.exp(np.interp(levels, profile.life_levels, np.log(row))).tolist()
            for row in profile.lives
        ]
        # A flow that follows a price quotes about it from here on: step by step it would be long
        # on its way.
        edges = profile.spread_edges
        self.far_ticks = _FAR_SPREADS * edges[-1] if edges else math.inf
        self.own_limit_wait = 1 / profile.limits_per_second
        rate = profile.markets_per_second
        self.own_market_wait = 1 / rate if rate else math.inf


class Offspring:
    """How many events one brings about, and which: tables that one uniform draws from."""

    __slots__ = ("counts", "kinds")

    def __init__(
        self,
        means_by_kind: tuple[Floats, ...],
        waits: list[float],
        burst: float,
    ) -> None:
        whats = ((LIMIT, 1), (LIMIT, -1), (PULL, 1), (PULL, -1), (MARKET, 1))
        kinds = [(what, relation, wait) for what, relation in whats for wait in waits]
        means = np.concatenate(means_by_kind)
        total = float(means.sum())
        self.counts = event_counts(total, burst)
        shares = means / total if total else np.full(len(means), 1 / len(means))
        self.kinds = [kinds[place] for place in even_places(shares)]


def event_counts(mean: float, burst: float) -> list[int]:
    """Return whole numbers of a negative binomial law, each as likely; Poisson's with no burst."""
    levels = (np.arange(GRAIN) + 0.5) / GRAIN
    spread = math.sqrt(mean + burst * mean * mean)
    furthest = int(mean + 30 * spread + 30 * burst * mean + 12)
    mass = math.exp(-mean) if burst == 0 else (1 + burst * mean) ** (-1 / burst)
    masses = [mass]
    for k in range(furthest):
        # P(k + 1) / P(k), of which Poisson's is the limit
        mass *= mean * (1 + burst * k) / ((1 + burst * mean) * (k + 1))
        masses.append(mass)
    found: list[int] = np.searchsorted(np.cumsum(masses), levels).tolist()
    return [min(count, furthest) for count in found]


def even_places(shares: Floats) -> list[int]:
    """Return places that have these shares, each as likely."""
    levels = (np.arange(GRAIN) + 0.5) / GRAIN
    bounds = np.cumsum(shares) / shares.sum()
    found: list[int] = np.minimum(np.searchsorted(bounds, levels), len(shares) - 1).tolist()
    return found


def drawn(law: Law) -> list[int]:
    """Return whole numbers that have a law, each as likely."""
    places = even_places(np.array([share for _, share in law]))
    return [round(law[place][0]) for place in places]
