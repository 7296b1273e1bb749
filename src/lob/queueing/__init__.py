"""Queues at the touch in closed form: when they run dry, and where the price goes next.

- `mm1_...`: a queue with constant rates; `BirthDeath`: rates that depend on its size.
- `ContStoikovTalreja` (2010) and `cst_...`: the mid's next move, a bid's fill, both sides' fills,
  at any spread; and the book itself as their Monte Carlo: `simulate_...`.
- `cont_de_larrard_...` (2013); `heavy_traffic_...`: their diffusion with correlation.
- `state_dependent_...`: fills and mid moves with rates by queue (Lokin and Yu 2024).
- `queue_reactive_stationary_law`: Huang, Lehalle and Rosenbaum (2015).
- `invert_laplace`, `first_of_two`, and the special functions they need.

Rates are a second and times seconds; arguments have the papers' names.
"""

from lob.queueing.birth_death import (
    BirthDeath,
    Rate,
    linear_death,
)
from lob.queueing.cont_de_larrard import (
    cont_de_larrard_balanced_volatility,
    cont_de_larrard_continuation_probability,
    cont_de_larrard_depth_moment,
    cont_de_larrard_duration_survival,
    cont_de_larrard_duration_tail,
    cont_de_larrard_mean_duration,
    cont_de_larrard_up_probability,
    cont_de_larrard_volatility,
)
from lob.queueing.cont_stoikov_talreja import (
    SKY_PERFECT,
    ContStoikovTalreja,
    cst_bid_fill_probability,
    cst_making_the_spread_probability,
    cst_mid_move_cdf,
    cst_mid_move_mean,
    cst_mid_up_probability,
    power_law_arrivals,
)
from lob.queueing.heavy_traffic import (
    heavy_traffic_duration_survival,
    heavy_traffic_mean_duration,
    heavy_traffic_tail_index,
    heavy_traffic_up_probability,
    queue_deviation,
)
from lob.queueing.laplace import (
    first_of_two,
    invert_laplace,
)
from lob.queueing.mm1 import (
    mm1_depletion_probability,
    mm1_first_passage_cdf,
    mm1_first_passage_laplace,
    mm1_first_passage_mean,
    mm1_first_passage_pdf,
    mm1_first_passage_variance,
    mm1_stationary_law,
    mm1_survival_tail,
)
from lob.queueing.race import (
    first_depleted,
    mean_first_depletion,
)
from lob.queueing.special import (
    beta_p,
    gamma_p,
    log_bessel_i,
    log_normal_cdf,
    matrix_exponential,
    normal_cdf,
    normal_quantile,
    poisson_tail,
    scaled_bessel_i,
)
from lob.queueing.state_dependent import (
    fill_before_depletion,
    state_dependent_fill_probability,
    state_dependent_mid_up_probability,
)
from lob.queueing.stationary import (
    queue_reactive_ratio,
    queue_reactive_stationary_law,
)
from lob.queueing.touch_simulation import (
    Estimate,
    simulate_bid_fill,
    simulate_making_the_spread,
    simulate_mid_up,
)

__all__ = [
    "SKY_PERFECT",
    "BirthDeath",
    "ContStoikovTalreja",
    "Estimate",
    "Rate",
    "beta_p",
    "cont_de_larrard_balanced_volatility",
    "cont_de_larrard_continuation_probability",
    "cont_de_larrard_depth_moment",
    "cont_de_larrard_duration_survival",
    "cont_de_larrard_duration_tail",
    "cont_de_larrard_mean_duration",
    "cont_de_larrard_up_probability",
    "cont_de_larrard_volatility",
    "cst_bid_fill_probability",
    "cst_making_the_spread_probability",
    "cst_mid_move_cdf",
    "cst_mid_move_mean",
    "cst_mid_up_probability",
    "fill_before_depletion",
    "first_depleted",
    "first_of_two",
    "gamma_p",
    "heavy_traffic_duration_survival",
    "heavy_traffic_mean_duration",
    "heavy_traffic_tail_index",
    "heavy_traffic_up_probability",
    "invert_laplace",
    "linear_death",
    "log_bessel_i",
    "log_normal_cdf",
    "matrix_exponential",
    "mean_first_depletion",
    "mm1_depletion_probability",
    "mm1_first_passage_cdf",
    "mm1_first_passage_laplace",
    "mm1_first_passage_mean",
    "mm1_first_passage_pdf",
    "mm1_first_passage_variance",
    "mm1_stationary_law",
    "mm1_survival_tail",
    "normal_cdf",
    "normal_quantile",
    "poisson_tail",
    "power_law_arrivals",
    "queue_deviation",
    "queue_reactive_ratio",
    "queue_reactive_stationary_law",
    "scaled_bessel_i",
    "simulate_bid_fill",
    "simulate_making_the_spread",
    "simulate_mid_up",
    "state_dependent_fill_probability",
    "state_dependent_mid_up_probability",
]
