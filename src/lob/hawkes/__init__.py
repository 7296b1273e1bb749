"""Self- and mutually exciting arrivals with exponential kernels.

A. G. Hawkes, "Spectra of some self-exciting and mutually exciting point processes" (Biometrika 58,
1971). Component i has the intensity

    lambda_i(t) = mu_i + sum_j sum over t_jk < t of alpha_ij exp(-beta_ij (t - t_jk)),

so that `alpha[i][j]` is what an event of component j adds to the rate of component i at once, and
`alpha_ij / beta_ij` how many further events it brings about directly. One component is the case of
1x1 matrices: `HawkesProcess.univariate`. `hawkes_stationary_rates`, `hawkes_log_likelihood` and
their like take mu, alpha and beta as they are.
"""

from lob.hawkes.closed_forms import (
    hawkes_branching_ratio,
    hawkes_count_covariance,
    hawkes_covariance_density,
    hawkes_intensity,
    hawkes_log_likelihood,
    hawkes_process,
    hawkes_stationary_rates,
)
from lob.hawkes.estimation import HawkesFit, fit, fit_univariate
from lob.hawkes.goodness import (
    KolmogorovSmirnov,
    kolmogorov_smirnov_exponential,
    residual_test,
    residuals,
)
from lob.hawkes.process import HawkesProcess
from lob.hawkes.simulation import simulate

__all__ = [
    "HawkesFit",
    "HawkesProcess",
    "KolmogorovSmirnov",
    "fit",
    "fit_univariate",
    "hawkes_branching_ratio",
    "hawkes_count_covariance",
    "hawkes_covariance_density",
    "hawkes_intensity",
    "hawkes_log_likelihood",
    "hawkes_process",
    "hawkes_stationary_rates",
    "kolmogorov_smirnov_exponential",
    "residual_test",
    "residuals",
    "simulate",
]
