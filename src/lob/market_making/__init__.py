"""Where a market maker quotes, what a place in a queue is worth, and what spreads say.

Avellaneda and Stoikov 2008; Gueant, Lehalle and Fernandez-Tapia 2013; Moallemi and Yuan 2016;
Stoikov 2018 (micro-price); Glosten and Milgrom 1985; Roll 1984; Easley et al. 1996 and 2012 (PIN,
VPIN). Prices and sizes are floats in the caller's own units; nothing here reads a book.
"""

from lob.market_making.avellaneda_stoikov import (
    FillIntensity,
    Quotes,
    avellaneda_stoikov_quotes,
    fit_fill_intensity,
    infinite_horizon_reservation_prices,
    intensity_from_order_flow,
    optimal_spread,
    reservation_bid_ask,
    reservation_price,
)
from lob.market_making.gueant_lehalle_tapia import (
    GueantLehalleTapia,
    asymptotic_quotes,
    asymptotic_spread,
)
from lob.market_making.information import (
    GlostenMilgromQuotes,
    bulk_buy_volumes,
    glosten_milgrom,
    glosten_milgrom_posterior,
    pin,
    roll_covariance,
    roll_spread,
    vpin,
)
from lob.market_making.micro_price import (
    MicroPrice,
    fit_micro_price,
    imbalance,
    weighted_mid,
)
from lob.market_making.moallemi_yuan import MoallemiYuan
from lob.market_making.queue_policy import QueueValueDecision, QueueValuePolicy
from lob.market_making.queue_value import QueueAction, QueueDecision, QueueValueModel
from lob.market_making.quoting_simulation import QuotingOutcome, simulate_quoting

__all__ = [
    "FillIntensity",
    "GlostenMilgromQuotes",
    "GueantLehalleTapia",
    "MicroPrice",
    "MoallemiYuan",
    "QueueAction",
    "QueueDecision",
    "QueueValueDecision",
    "QueueValueModel",
    "QueueValuePolicy",
    "Quotes",
    "QuotingOutcome",
    "asymptotic_quotes",
    "asymptotic_spread",
    "avellaneda_stoikov_quotes",
    "bulk_buy_volumes",
    "fit_fill_intensity",
    "fit_micro_price",
    "glosten_milgrom",
    "glosten_milgrom_posterior",
    "imbalance",
    "infinite_horizon_reservation_prices",
    "intensity_from_order_flow",
    "optimal_spread",
    "pin",
    "reservation_bid_ask",
    "reservation_price",
    "roll_covariance",
    "roll_spread",
    "simulate_quoting",
    "vpin",
    "weighted_mid",
]
