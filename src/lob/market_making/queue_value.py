"""What a place in the queue is worth, and whether to hold it.

C. Moallemi and K. Yuan, "A model for queue position valuation in a limit order book" (2016). The
value of a small order with q lots ahead, delta from the efficient price, is affine in delta:
V(q, delta) = alpha(q) delta - beta(q), with alpha the probability of being filled and beta the cost
of adverse selection, which grows with q since it takes larger trades to reach the order. The
recursion below is ours, after the paper's: sizes are whole lots, and the rates of cancels, of
moves away and of sweeps are given one by one.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import numpy as np

from lob.bounds import Floats, not_negative, number, positive, row, whole
from lob.errors import InvalidInput

MAX_QUEUE_LOTS = 1_000_000
_SUM_TOLERANCE = 1e-9


class QueueAction(StrEnum):
    """What to do with a resting order."""

    HOLD = "HOLD"
    CANCEL = "CANCEL"
    REPRICE = "REPRICE"


@dataclass(frozen=True, slots=True)
class QueueDecision:
    """The best action, what it is worth, and what holding and repricing are worth each."""

    action: QueueAction
    value: float
    hold_value: float
    reprice_value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueValueModel:
    """Rates in 1/s; `impact` and `sweep_loss` in units of price; sizes in lots.

    Trades against the order's side come at `trade_rate` with sizes of probabilities `trade_sizes`
    (of 1, 2, ... lots) and move the efficient price by `impact` a lot against the order; trades on
    the other side come at `opposite_trade_rate` with the same sizes and move it in favour. Each lot
    ahead is cancelled at `cancel_rate`. The quote moves away at `away_rate`, which ends the order
    unfilled; it is swept at `sweep_rate`, which fills it and moves the price by `sweep_loss`.

    >>> model = QueueValueModel(trade_rate=1.0, trade_sizes=(1.0,), away_rate=1.0)
    >>> [round(model.fill_probability(lots), 4) for lots in range(3)]
    [0.5, 0.25, 0.125]
    """

    trade_rate: float
    trade_sizes: tuple[float, ...] = (1.0,)
    impact: float = 0.0
    opposite_trade_rate: float = 0.0
    cancel_rate: float = 0.0
    away_rate: float = 0.0
    sweep_rate: float = 0.0
    sweep_loss: float = 0.0

    def __post_init__(self) -> None:
        positive("trade_rate", self.trade_rate)
        for name in (
            "impact",
            "opposite_trade_rate",
            "cancel_rate",
            "away_rate",
            "sweep_rate",
            "sweep_loss",
        ):
            not_negative(name, getattr(self, name))
        sizes = row("trade_sizes", self.trade_sizes, low=0)
        if abs(float(sizes.sum()) - 1) > _SUM_TOLERANCE:
            raise InvalidInput(f"trade_sizes: sum {float(sizes.sum()):.9g}; allowed: 1")

    def curves(self, lots_ahead: int) -> tuple[Floats, Floats]:
        """Return alpha(q) and beta(q) for q from 0 to `lots_ahead`. O(q x sizes).

        alpha is a probability, beta in units of price.
        """
        whole("lots_ahead", lots_ahead, 0, MAX_QUEUE_LOTS)
        if len(self.trade_sizes) == 1:
            found = _curves_of_single_lots(self, lots_ahead)
            return np.array(found[0]), np.array(found[1])
        chances = np.array(self.trade_sizes)
        sizes = np.arange(1, len(chances) + 1)
        mean_size = float(sizes @ chances)
        gain_rate = self.opposite_trade_rate * self.impact * mean_size
        alpha, beta = np.zeros(lots_ahead + 1), np.zeros(lots_ahead + 1)
        for q in range(lots_ahead + 1):
            through = min(q, len(chances))  # sizes up to q leave the order unfilled
            after = q - sizes[:through]
            weights, moved = chances[:through], self.impact * sizes[:through]
            filling = float(chances[through:].sum())
            hit = self.impact * float(sizes[through:] @ chances[through:])
            reached = filling + float(weights @ alpha[after])
            lost = hit + float(weights @ (beta[after] + moved * alpha[after]))
            cancels = self.cancel_rate * q
            rate = self.trade_rate + cancels + self.away_rate + self.sweep_rate
            before = max(q - 1, 0)
            alpha[q] = (
                self.trade_rate * reached + cancels * alpha[before] + self.sweep_rate
            ) / rate
            beta[q] = (
                self.trade_rate * lost
                + cancels * beta[before]
                + self.sweep_rate * self.sweep_loss
                - gain_rate * alpha[q]
            ) / rate
        return alpha, beta

    def fill_probability(self, lots_ahead: int) -> float:
        """Return alpha(q): the probability of a fill before the quote moves away."""
        return float(self.curves(lots_ahead)[0][-1])

    def adverse_selection(self, lots_ahead: int) -> float:
        """Return beta(q): the expected loss to a moved price, filled or not, in units of price."""
        return float(self.curves(lots_ahead)[1][-1])

    def value(self, lots_ahead: int, delta: float) -> float:
        """Return V(q, delta) = alpha(q) delta - beta(q), a unit filled, in units of price.

        `delta` is the distance from the efficient price: half the spread, and the maker's rebate.
        """
        delta = number("delta", delta)
        if len(self.trade_sizes) == 1:
            whole("lots_ahead", lots_ahead, 0, MAX_QUEUE_LOTS)
            chances, losses = _curves_of_single_lots(self, lots_ahead)
            return chances[-1] * delta - losses[-1]
        alpha, beta = self.curves(lots_ahead)
        return float(alpha[-1] * delta - beta[-1])

    def decide(
        self,
        lots_ahead: int,
        delta: float,
        *,
        reprice_lots_ahead: int | None = None,
        reprice_delta: float | None = None,
        reprice_cost: float = 0.0,
    ) -> QueueDecision:
        """Say whether to hold the place, to give it up, or to join the other queue instead.

        HOLD when the place is worth as much as anything else and not less than nothing; REPRICE
        when `reprice_lots_ahead` lots behind at distance `reprice_delta` is worth more, its cost
        taken off; CANCEL when both are worth less than nothing.
        """
        cost = not_negative("reprice_cost", reprice_cost)
        hold = self.value(lots_ahead, delta)
        if (reprice_lots_ahead is None) != (reprice_delta is None):
            raise InvalidInput(
                f"reprice_delta: {reprice_delta}; allowed: given together with reprice_lots_ahead"
            )
        other = -np.inf
        if reprice_lots_ahead is not None and reprice_delta is not None:
            other = self.value(reprice_lots_ahead, reprice_delta) - cost
        if max(hold, other) < 0:
            return QueueDecision(QueueAction.CANCEL, 0.0, hold, other)
        if hold >= other:
            return QueueDecision(QueueAction.HOLD, hold, hold, other)
        return QueueDecision(QueueAction.REPRICE, other, hold, other)


@lru_cache(maxsize=256)
def _curves_of_single_lots(
    model: QueueValueModel, lots_ahead: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the curves where all trades are of one lot: the recursion in plain floats."""
    mu, impact = model.trade_rate, model.impact
    gain_rate = model.opposite_trade_rate * impact
    swept, swept_loss = model.sweep_rate, model.sweep_rate * model.sweep_loss
    alpha, beta = [0.0] * (lots_ahead + 1), [0.0] * (lots_ahead + 1)
    reached, lost = 1.0, impact
    for q in range(lots_ahead + 1):
        cancels = model.cancel_rate * q
        rate = mu + cancels + model.away_rate + swept
        before = max(q - 1, 0)
        alpha[q] = (mu * reached + cancels * alpha[before] + swept) / rate
        beta[q] = (mu * lost + cancels * beta[before] + swept_loss - gain_rate * alpha[q]) / rate
        reached, lost = alpha[q], beta[q] + impact * alpha[q]
    return tuple(alpha), tuple(beta)
