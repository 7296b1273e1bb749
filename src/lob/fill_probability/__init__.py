"""P(fill within T): by the queue ahead, by a diffusing price, and from data; and its scores.

- `erlang_...`, `hypoexponential_...`, `compound_poisson_...`: the queue ahead, then our lots.
- `cst_bid_fill_probability`, `cst_making_the_spread_probability`: before the mid moves.
- `first_passage_...`, `geometric_fill_probability`: a mid that diffuses to the limit.
- `kaplan_meier`, `nelson_aalen`, `piecewise_hazard`: from orders that filled or were censored.
- `brier_score`, `log_loss`, `auc`, `expected_calibration_error`, `block_bootstrap_interval`.
"""

from lob.fill_probability.fills import (
    compound_poisson_fill_probability,
    compound_poisson_law,
    erlang_fill_probability,
    expected_filled_quantity,
    expected_wait,
    filled_quantity_law,
    filling_stages,
    hypoexponential_fill_probability,
    partial_fill_probability,
    stages_cdf,
    wait_variance,
)
from lob.fill_probability.first_passage import (
    first_passage_density,
    first_passage_ever,
    first_passage_fill_probability,
    first_passage_mean,
    first_passage_quantile,
    first_passage_variance,
    geometric_fill_probability,
    lower_before_upper,
    queue_and_price_fill_probability,
)
from lob.fill_probability.scores import (
    Interval,
    ReliabilityBin,
    auc,
    block_bootstrap_interval,
    brier_score,
    brier_skill_score,
    expected_calibration_error,
    log_loss,
    reliability_table,
)
from lob.fill_probability.survival import (
    KaplanMeier,
    NelsonAalen,
    kaplan_meier,
    nelson_aalen,
    piecewise_hazard,
)
from lob.queueing.cont_stoikov_talreja import (
    cst_bid_fill_probability,
    cst_making_the_spread_probability,
)

__all__ = [
    "Interval",
    "KaplanMeier",
    "NelsonAalen",
    "ReliabilityBin",
    "auc",
    "block_bootstrap_interval",
    "brier_score",
    "brier_skill_score",
    "compound_poisson_fill_probability",
    "compound_poisson_law",
    "cst_bid_fill_probability",
    "cst_making_the_spread_probability",
    "erlang_fill_probability",
    "expected_calibration_error",
    "expected_filled_quantity",
    "expected_wait",
    "filled_quantity_law",
    "filling_stages",
    "first_passage_density",
    "first_passage_ever",
    "first_passage_fill_probability",
    "first_passage_mean",
    "first_passage_quantile",
    "first_passage_variance",
    "geometric_fill_probability",
    "hypoexponential_fill_probability",
    "kaplan_meier",
    "log_loss",
    "lower_before_upper",
    "nelson_aalen",
    "partial_fill_probability",
    "piecewise_hazard",
    "queue_and_price_fill_probability",
    "reliability_table",
    "stages_cdf",
    "wait_variance",
]
