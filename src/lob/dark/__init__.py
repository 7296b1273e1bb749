"""Dark pools: how to split an order over them, what their fills tell, and pools to simulate.

K. Ganchev, Y. Nevmyvaka, M. Kearns and J. Wortman Vaughan, "Censored exploration and the dark pool
problem" (Communications of the ACM 53(5), 2010; UAI 2009): `greedy_allocation`, its tails, and
`CensoredExploration`. S. Laruelle, C.-A. Lehalle and G. Pages, "Optimal split of orders across
liquidity pools" (SIAM Journal on Financial Mathematics 2, 2011): `optimal_dark_split`,
`LagrangianSplit`. `DarkPoolRouter` simulates pools, for the L3 provider.
"""

from lob.dark.allocation import (
    Allocation,
    brute_force_allocation,
    expected_fill,
    greedy_allocation,
)
from lob.dark.continuous_split import (
    DarkSplit,
    LagrangianSplit,
    dark_split_value,
    optimal_dark_split,
    project_to_simplex,
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
    "DarkSplit",
    "DarkVenue",
    "LagrangianSplit",
    "Routing",
    "VenueKind",
    "brute_force_allocation",
    "dark_split_value",
    "expected_fill",
    "exploration_cutoff",
    "greedy_allocation",
    "kaplan_meier_tail",
    "optimal_dark_split",
    "optimistic_kaplan_meier_tail",
    "project_to_simplex",
    "tail_from_probabilities",
]
