"""Sections of what a resting order may expect: whether it fills, and what its place is worth."""

from enum import StrEnum
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from lob.config.engine_sections import LobDataConfig
from lob.config.section import Section
from lob.errors import InvalidInput
from lob.fill_probability import FillModel, fill_model_from_mapping


class FillModelKind(StrEnum):
    """The fill-probability models; `lob.fill_probability` has them and their sources."""

    POISSON = "poisson"
    QUEUE_REACTIVE = "queue_reactive"
    HISTORICAL = "historical"
    DISTANCE = "distance"
    HAZARD = "hazard"
    COMPOSITE = "composite"


class FillProbabilityConfig(Section):
    """How likely a resting order is to fill; told of every order that comes to rest.

    `horizon_s` is the horizon of the forecast in a fill's attribution, in seconds. `parameters` are
    those of the model's own mapping (`lob.fill_probability.fill_model_from_mapping`), such as a
    calibration writes; sizes are in typical orders, rates per second. What poisson and distance are
    not told they take from `lob_data`; the other models have to be told, and are refused if not.
    """

    path: ClassVar[str] = "fill_probability"

    enabled: bool = False
    model: FillModelKind = FillModelKind.POISSON
    horizon_s: float = Field(default=60.0, gt=0, le=86_400)
    parameters: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _buildable(self) -> Self:
        try:
            self.fill_model(LobDataConfig())
        except InvalidInput as fault:
            raise ValueError(f"!parameters.{fault}") from fault
        return self

    def fill_model(self, lob_data: LobDataConfig) -> FillModel:
        """Return the model; `InvalidInput` where its parameters are not right."""
        rates = {
            "trade_rate": lob_data.markets_per_second / 2,
            "cancel_rate": lob_data.cancels_per_second / lob_data.resting_orders,
        }
        known: dict[str, Any] = {}
        if self.model is FillModelKind.POISSON:
            known = rates
        elif self.model is FillModelKind.DISTANCE:
            known = {"queue": rates}
        return fill_model_from_mapping(known | self.parameters | {"model": self.model.value})


class QueueValueConfig(Section):
    """What a resting order's place is worth, and whether to hold, cancel or reprice it.

    The rates of trades and cancels are those of the bar, else of `lob_data`. A typical order that
    trades moves the efficient price by `impact_half_spreads` of half the spread; the quote moves
    away `away_per_trade` times as often as a trade comes, and is swept `sweep_per_trade` times as
    often, which then costs `sweep_loss_half_spreads`. To reprice, which joins the next price away
    from the touch, costs `reprice_cost_bps`. With `act` the advice is followed as the order
    arrives; without, it is told and no more.
    """

    path: ClassVar[str] = "queue_value"

    enabled: bool = False
    act: bool = False
    impact_half_spreads: float = Field(default=0.3, ge=0, le=100)
    away_per_trade: float = Field(default=0.2, ge=0, le=1_000)
    sweep_per_trade: float = Field(default=0.05, ge=0, le=1_000)
    sweep_loss_half_spreads: float = Field(default=2.0, ge=0, le=1_000)
    reprice_cost_bps: float = Field(default=0.0, ge=0, le=1_000)
