"""The section of market impact: which model, its coefficients, and what it does to the book."""

from enum import StrEnum
from typing import ClassVar, Final, Self

from pydantic import Field, model_validator

from lob.config.section import Section
from lob.errors import InvalidInput
from lob.impact import (
    CompositeImpact,
    ExponentialKernel,
    ImpactModel,
    Kernel,
    KyleImpact,
    LinearImpact,
    ObizhaevaWangImpact,
    ShiftedPowerLawKernel,
    SquareRootImpact,
    TemporaryPermanent,
)


class ImpactKind(StrEnum):
    """The models; `lob.impact` has them and their papers."""

    ALMGREN_CHRISS = "almgren_chriss"
    GATHERAL = "gatheral"
    SQUARE_ROOT = "square_root"
    LINEAR = "linear"
    KYLE = "kyle"
    OBIZHAEVA_WANG = "obizhaeva_wang"
    COMPOSITE = "composite"


class Decay(StrEnum):
    """How the temporary part fades: as the model has it, or by one of two laws."""

    MODEL = "model"
    POWER_LAW = "power_law"
    EXPONENTIAL = "exponential"


class Reaction(StrEnum):
    """What others do after our order has taken liquidity.

    REPLENISH brings `reaction_share` of what was taken back at the new quote; WITHDRAW takes that
    share of the orders on the side that was hit away; INFORMED trades that share of our quantity in
    our direction, ahead of whatever of ours still waits.
    """

    NONE = "none"
    REPLENISH = "replenish"
    WITHDRAW = "withdraw"
    INFORMED = "informed"


_WEIGHTS: Final = {ImpactKind.ALMGREN_CHRISS: 0.5, ImpactKind.SQUARE_ROOT: 0.5}


class MarketImpactConfig(Section):
    """How our own trades move the price; read by `model` and `kernel`, and by executions.

    Temporary impact is eta sigma (Q/ADV)^delta, permanent gamma Q/ADV (almgren_chriss, which fades
    as e^(-t/tau_s), and gatheral, which fades as (1 + t/tau_s)^(-beta)); the other models have
    their own coefficients. `sigma` is the daily volatility where the market state has none; null
    makes the market state's required. The daily volume is `market.adv_notional` over the price,
    else `adv_quantity` (in units of the symbol), else `adv_notional` (in quote currency) over the
    price; where a model needs it and all are missing, the execution is refused.
    """

    path: ClassVar[str] = "market_impact"

    enabled: bool = False
    model: ImpactKind = ImpactKind.ALMGREN_CHRISS
    eta: float = Field(default=0.05, ge=0)
    gamma: float = Field(default=0.03, ge=0)
    delta: float = Field(default=0.5, gt=0, le=2)
    tau_s: float = Field(default=30.0, gt=0)
    beta: float = Field(default=1.5, gt=0)
    sigma: float | None = Field(default=0.02, ge=0)
    decay: Decay = Decay.MODEL
    permanent_share: float | None = Field(default=None, ge=0, le=1)
    linear_coefficient: float = Field(default=0.1, ge=0)
    square_root_y: float = Field(default=1.0, ge=0)
    kyle_lambda: float | None = Field(default=None, ge=0)
    book_density: float | None = Field(default=None, gt=0)
    composite_weights: dict[ImpactKind, float] = Field(default_factory=_WEIGHTS.copy)
    adv_quantity: float | None = Field(default=None, gt=0)
    adv_notional: float | None = Field(default=None, gt=0)
    apply_to_lob: bool = True
    reaction: Reaction = Reaction.REPLENISH
    reaction_share: float = Field(default=0.5, ge=0, le=1)

    @model_validator(mode="after")
    def _buildable(self) -> Self:
        if ImpactKind.COMPOSITE in self.composite_weights:
            allowed = ", ".join(kind for kind in ImpactKind if kind is not ImpactKind.COMPOSITE)
            raise ValueError(f"!composite_weights: 'composite'; allowed: {allowed}")
        try:
            self.impact_model()
        except InvalidInput as fault:
            raise ValueError(f"!{fault}") from fault
        return self

    def impact_model(self) -> ImpactModel:
        """Return the model with this section's coefficients.

        Raises `InvalidInput` where the model needs a coefficient that is null.
        """
        if self.model is not ImpactKind.COMPOSITE:
            return self._single(self.model)
        models = tuple(self._single(kind) for kind in self.composite_weights)
        return CompositeImpact(models=models, weights=tuple(self.composite_weights.values()))

    def kernel(self) -> Kernel:
        """Return how the temporary part fades, with ages in seconds."""
        if self.decay is Decay.POWER_LAW:
            return ShiftedPowerLawKernel(self.tau_s, self.beta)
        if self.decay is Decay.EXPONENTIAL:
            return ExponentialKernel(1 / self.tau_s)
        return self.impact_model().kernel

    def _single(self, kind: ImpactKind) -> ImpactModel:
        if kind in (ImpactKind.ALMGREN_CHRISS, ImpactKind.GATHERAL):
            return TemporaryPermanent(
                eta=self.eta,
                gamma=self.gamma,
                delta=self.delta,
                tau_s=self.tau_s,
                beta=self.beta,
                sigma=self.sigma,
                exponential=kind is ImpactKind.ALMGREN_CHRISS,
            )
        if kind is ImpactKind.SQUARE_ROOT:
            return SquareRootImpact(
                Y=self.square_root_y, permanent_share=self._stays(0.0), tau_s=self.tau_s
            )
        if kind is ImpactKind.LINEAR:
            return LinearImpact(
                coefficient=self.linear_coefficient,
                permanent_share=self._stays(0.5),
                tau_s=self.tau_s,
            )
        if kind is ImpactKind.KYLE:
            lam = _needed("kyle_lambda", self.kyle_lambda, kind)
            return KyleImpact(lam=lam, permanent_share=self._stays(1.0), tau_s=self.tau_s)
        density = _needed("book_density", self.book_density, kind)
        return ObizhaevaWangImpact(
            q=density, lambda_perm=self._stays(0.0) / density, rho=1 / self.tau_s
        )

    def _stays(self, usual: float) -> float:
        """Return the share of an impact that stays: the model's own where the key is null."""
        return usual if self.permanent_share is None else self.permanent_share


def _needed(name: str, value: float | None, kind: ImpactKind) -> float:
    if value is None:
        raise InvalidInput(f"{name}: None; allowed with the model {kind}: a number above 0")
    return value
