"""Dark pools: how to split an order over them, what their fills tell, and pools to simulate.

K. Ganchev, Y. Nevmyvaka, M. Kearns and J. Wortman Vaughan, "Censored exploration and the dark pool
problem" (Communications of the ACM 53(5), 2010; UAI 2009).
"""

from lob.dark.allocation import (
    Allocation,
    brute_force_allocation,
    expected_fill,
    greedy_allocation,
)
from lob.dark.exploration import CensoredExploration
from lob.dark.pools import DarkFill, DarkPoolRouter, DarkResult, DarkVenue, Routing, VenueKind
from lob.dark.tails import (
    exploration_cutoff,
    kaplan_meier_tail,
    optimistic_kaplan_meier_tail,
    tail_from_probabilities,
)

__all__ = [
    "Allocation",
    "CensoredExploration",
    "DarkFill",
    "DarkPoolRouter",
    "DarkResult",
    "DarkVenue",
    "Routing",
    "VenueKind",
    "brute_force_allocation",
    "expected_fill",
    "exploration_cutoff",
    "greedy_allocation",
    "kaplan_meier_tail",
    "optimistic_kaplan_meier_tail",
    "tail_from_probabilities",
]
