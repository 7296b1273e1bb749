"""Market impact: the models of the literature in closed form, and impact in basis points.

Each function is named for its paper, takes the paper's symbols, and cites its source; all of it is
pure: numbers in, numbers out, `InvalidInput` for what is out of range.

=============================== ====================================================================
Almgren and Chriss 2000         `almgren_chriss_trajectory` and its like; `liquidity_adjusted_var`
Almgren 2003                    `almgren2003_holdings`, `almgren2003_time`
Almgren and others 2005         `almgren2005_cost`
Bertsimas and Lo 1998           `bertsimas_lo_schedule`, `_cost`, `_information`, `_percentage`
Bouchaud and others 2004        `propagator_prices`, `fit_propagator`, `response_from_propagator`
Cont, Kukanov, Stoikov 2014     `ofi_contributions`, `order_flow_imbalance`, `fit_price_impact`
Gatheral 2010                   `gatheral_no_arbitrage`, `propagator_cost`, `power_law_vwap_cost`
Gatheral, Schied, Slynko 2012   `power_law_optimal_rate`, `power_law_optimal_cost`
Kyle 1985                       `kyle_single`, `kyle_sequential`, `kyle_continuous`
Obizhaeva and Wang 2013         `obizhaeva_wang_continuous`, `_discrete`, `_coefficients`, `_cost`
A ladder of prices              `walk_book`
Models in basis points          `TemporaryPermanent`, `SquareRootImpact`, .., `ImpactTracker`
Their coefficients from data    `fit_power_impact`, `fit_price_impact`
=============================== ====================================================================
"""

from lob.impact.almgren_2003 import almgren2003_holdings, almgren2003_time
from lob.impact.almgren_2005 import TradeCost, almgren2005_cost
from lob.impact.almgren_chriss import (
    CostMoments,
    Frontier,
    Trajectory,
    almgren_chriss_continuous,
    almgren_chriss_cost,
    almgren_chriss_frontier,
    almgren_chriss_half_life,
    almgren_chriss_holdings,
    almgren_chriss_kappa,
    almgren_chriss_minimum_var,
    almgren_chriss_trajectory,
    liquidity_adjusted_var,
    normal_quantile,
)
from lob.impact.bertsimas_lo import (
    LinearPriceRule,
    PercentageImpactRule,
    bertsimas_lo_cost,
    bertsimas_lo_information,
    bertsimas_lo_percentage,
    bertsimas_lo_schedule,
)
from lob.impact.book_walk import BookWalk, walk_book
from lob.impact.calibration import PowerFit, fit_power_impact
from lob.impact.gatheral import (
    GAMMA_STAR,
    NoArbitrage,
    PowerImpact,
    gatheral_gamma_star,
    gatheral_no_arbitrage,
    gatheral_two_rate_cost,
    power_law_optimal_cost,
    power_law_optimal_rate,
    power_law_vwap_cost,
    propagator_cost,
    propagator_price_path,
    round_trip_cost,
)
from lob.impact.kernels import (
    ExponentialKernel,
    Kernel,
    PermanentKernel,
    PowerLawKernel,
    ShiftedPowerLawKernel,
)
from lob.impact.kyle import (
    KyleContinuous,
    KyleSequential,
    KyleSingle,
    kyle_continuous,
    kyle_sequential,
    kyle_single,
)
from lob.impact.models import (
    CompositeImpact,
    Impact,
    ImpactMarket,
    ImpactModel,
    KyleImpact,
    LinearImpact,
    MixedKernel,
    ObizhaevaWangImpact,
    SquareRootImpact,
    TemporaryPermanent,
    linear_impact,
    permanent_impact_bps,
    square_root_impact,
    temporary_impact_bps,
)
from lob.impact.obizhaeva_wang import (
    Coefficients,
    ContinuousSchedule,
    DiscreteSchedule,
    ScheduleCost,
    obizhaeva_wang_ask,
    obizhaeva_wang_coefficients,
    obizhaeva_wang_continuous,
    obizhaeva_wang_cost,
    obizhaeva_wang_discrete,
)
from lob.impact.order_flow import (
    DepthLaw,
    Regression,
    fit_depth_law,
    fit_price_impact,
    ofi_contributions,
    ofi_from_flows,
    ofi_impact_coefficient,
    order_flow_imbalance,
    stylized_price_change,
    trade_imbalance,
)
from lob.impact.propagator import (
    Response,
    critical_beta,
    fit_propagator,
    measure_response,
    propagator_kernel,
    propagator_prices,
    response_from_propagator,
)
from lob.impact.tracker import ImpactTracker, Quotes, shift_quotes

__all__ = [
    "GAMMA_STAR",
    "BookWalk",
    "Coefficients",
    "CompositeImpact",
    "ContinuousSchedule",
    "CostMoments",
    "DepthLaw",
    "DiscreteSchedule",
    "ExponentialKernel",
    "Frontier",
    "Impact",
    "ImpactMarket",
    "ImpactModel",
    "ImpactTracker",
    "Kernel",
    "KyleContinuous",
    "KyleImpact",
    "KyleSequential",
    "KyleSingle",
    "LinearImpact",
    "LinearPriceRule",
    "MixedKernel",
    "NoArbitrage",
    "ObizhaevaWangImpact",
    "PercentageImpactRule",
    "PermanentKernel",
    "PowerFit",
    "PowerImpact",
    "PowerLawKernel",
    "Quotes",
    "Regression",
    "Response",
    "ScheduleCost",
    "ShiftedPowerLawKernel",
    "SquareRootImpact",
    "TemporaryPermanent",
    "TradeCost",
    "Trajectory",
    "almgren2003_holdings",
    "almgren2003_time",
    "almgren2005_cost",
    "almgren_chriss_continuous",
    "almgren_chriss_cost",
    "almgren_chriss_frontier",
    "almgren_chriss_half_life",
    "almgren_chriss_holdings",
    "almgren_chriss_kappa",
    "almgren_chriss_minimum_var",
    "almgren_chriss_trajectory",
    "bertsimas_lo_cost",
    "bertsimas_lo_information",
    "bertsimas_lo_percentage",
    "bertsimas_lo_schedule",
    "critical_beta",
    "fit_depth_law",
    "fit_power_impact",
    "fit_price_impact",
    "fit_propagator",
    "gatheral_gamma_star",
    "gatheral_no_arbitrage",
    "gatheral_two_rate_cost",
    "kyle_continuous",
    "kyle_sequential",
    "kyle_single",
    "linear_impact",
    "liquidity_adjusted_var",
    "measure_response",
    "normal_quantile",
    "obizhaeva_wang_ask",
    "obizhaeva_wang_coefficients",
    "obizhaeva_wang_continuous",
    "obizhaeva_wang_cost",
    "obizhaeva_wang_discrete",
    "ofi_contributions",
    "ofi_from_flows",
    "ofi_impact_coefficient",
    "order_flow_imbalance",
    "permanent_impact_bps",
    "power_law_optimal_cost",
    "power_law_optimal_rate",
    "power_law_vwap_cost",
    "propagator_cost",
    "propagator_kernel",
    "propagator_price_path",
    "propagator_prices",
    "response_from_propagator",
    "round_trip_cost",
    "shift_quotes",
    "square_root_impact",
    "stylized_price_change",
    "temporary_impact_bps",
    "trade_imbalance",
    "walk_book",
]
