"""Hold a place in a queue, give it up, or move: the value of the place against what moving costs.

C. Moallemi and K. Yuan, "A model for queue position valuation in a limit order book" (2016): what
an order is worth depends on its place, since a fill far behind takes a large trade and large trades
tell more. An order that moves to a better price starts anew at the tail of that queue, a tick or
more nearer to the efficient price.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from lob.bounds import not_negative, number, whole
from lob.errors import InvalidInput
from lob.market_making.queue_value import QueueAction, QueueValueModel


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueValueDecision:
    """What to do, and why; values a lot in units of price.

    `hold_value` is V at the present place; `cancel_value` what cancelling leaves (minus its cost);
    `reprice_value` V at the tail of the better price less the costs of moving, None where there is
    no such price. `alpha` and `adverse_selection` are those of the present place.
    """

    action: QueueAction
    hold_value: float
    cancel_value: float
    reprice_value: float | None
    alpha: float
    adverse_selection: float
    explanation: str

    @property
    def value(self) -> float:
        """Return what the action taken is worth."""
        if self.action is QueueAction.REPRICE and self.reprice_value is not None:
            return self.reprice_value
        return self.hold_value if self.action is QueueAction.HOLD else self.cancel_value


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueValuePolicy:
    """Decide by `model` with thresholds, all a lot in units of price.

    `cancel_cost` is paid by a cancel, `reprice_cost` by a move (which cancels and submits);
    `cancel_below` is how much worse than cancelling a place may be and still be held (0: any
    place worth less is given up); `reprice_gain_min` how much better a move must be than the
    better of the two others. Thresholds keep an order from moving to and fro on noise.

    >>> policy = QueueValuePolicy(
    ...     model=QueueValueModel(trade_rate=1.0, away_rate=1.0, impact=0.1), reprice_gain_min=0.05
    ... )
    >>> policy.decide(lots_ahead=0, delta=0.5).action.value
    'HOLD'
    >>> policy.decide(lots_ahead=0, delta=0.05).action.value
    'CANCEL'
    """

    model: QueueValueModel
    cancel_cost: float = 0.0
    reprice_cost: float = 0.0
    cancel_below: float = 0.0
    reprice_gain_min: float = 0.0

    def __post_init__(self) -> None:
        for name in ("cancel_cost", "reprice_cost", "cancel_below", "reprice_gain_min"):
            not_negative(name, getattr(self, name))

    def decide(
        self,
        *,
        lots_ahead: int,
        delta: float,
        better_price_lots: int | None = None,
        better_price_delta: float | None = None,
    ) -> QueueValueDecision:
        """Return HOLD, CANCEL or REPRICE for `lots_ahead` before us at distance `delta`.

        `delta` is our price's distance from the efficient price, rebate included. At the better
        price, if there is one, we would stand behind `better_price_lots`, at its own distance.
        At equal values the place is kept. O(lots x sizes).
        """
        whole("lots_ahead", lots_ahead, 0)
        delta = number("delta", delta)
        alpha, beta = (
            self.model.fill_probability(lots_ahead),
            self.model.adverse_selection(lots_ahead),
        )
        hold, cancel = alpha * delta - beta, -self.cancel_cost
        reprice = self._reprice(better_price_lots, better_price_delta)
        rest = hold if hold >= cancel - self.cancel_below else cancel
        if reprice is not None and reprice > rest + self.reprice_gain_min:
            action = QueueAction.REPRICE
        else:
            action = QueueAction.HOLD if rest == hold else QueueAction.CANCEL
        return QueueValueDecision(
            action=action,
            hold_value=hold,
            cancel_value=cancel,
            reprice_value=reprice,
            alpha=alpha,
            adverse_selection=beta,
            explanation=self._explanation(action, lots_ahead, hold, cancel, reprice),
        )

    def _reprice(self, lots: int | None, delta: float | None) -> float | None:
        if lots is None and delta is None:
            return None
        if lots is None or delta is None:
            raise InvalidInput(
                f"better_price_delta: {delta}; allowed: given together with better_price_lots"
            )
        return self.model.value(lots, delta) - self.cancel_cost - self.reprice_cost

    def _explanation(
        self,
        action: QueueAction,
        lots_ahead: int,
        hold: float,
        cancel: float,
        reprice: float | None,
    ) -> str:
        moving = "no better price" if reprice is None else f"moving {reprice:.6g}"
        return (
            f"{action.value}: {lots_ahead} lots ahead are worth {hold:.6g}, cancelling "
            f"{cancel:.6g}, {moving}; thresholds: cancel_below {self.cancel_below:g}, "
            f"reprice_gain_min {self.reprice_gain_min:g}"
        )

    def to_mapping(self) -> dict[str, Any]:
        """Return the policy and its model in plain values."""
        model: dict[str, Any] = {
            x.name: getattr(self.model, x.name) for x in fields(QueueValueModel)
        }
        model["trade_sizes"] = list(model["trade_sizes"])
        thresholds = {x.name: getattr(self, x.name) for x in fields(self) if x.name != "model"}
        return {"model": model, **thresholds}

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Self:
        """Return the policy of `to_mapping`; `InvalidInput` for an unknown or a missing key."""
        _require_known("queue_value", mapping, {x.name for x in fields(cls)}, {"model"})
        model = mapping["model"]
        _require_known("model", model, {x.name for x in fields(QueueValueModel)}, {"trade_rate"})
        sizes = {"trade_sizes": tuple(model["trade_sizes"])} if "trade_sizes" in model else {}
        rest = {key: value for key, value in mapping.items() if key != "model"}
        return cls(model=QueueValueModel(**{**model, **sizes}), **rest)


def _require_known(
    name: str, mapping: Mapping[str, Any], known: set[str], required: set[str]
) -> None:
    for key in (*sorted(set(mapping) - known), *sorted(required - set(mapping))):
        raise InvalidInput(f"{name}: {key!r}; allowed: {', '.join(sorted(known))}")
