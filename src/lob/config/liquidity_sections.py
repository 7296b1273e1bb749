"""Sections of what does not show: hidden orders and icebergs in the book, and dark pools."""

from typing import Any, ClassVar, Final, NamedTuple, Self

from pydantic import Field, model_validator

from lob.config.section import Section
from lob.dark import DarkVenue, Routing, VenueKind
from lob.dark.pools import DEFAULT_MAX_HISTORY_SIZE, MAX_VENUES
from lob.errors import InvalidInput
from lob.hidden import (
    DetectionRules,
    HiddenLiquidityModel,
    HiddenPrior,
    IcebergDetector,
    UsualHidden,
)

_NS: Final = 1_000_000_000


class HiddenLiquidityConfig(Section):
    """What stands in a book without showing, and what gives an iceberg away.

    Executions put hidden orders into the book they build by `lob.hidden.HiddenLiquidityModel`: as a
    calibration fitted it, where `parameters` are what its `to_parameters` gives; else by its prior,
    in which an order meets a hidden one inside a wide spread with `probability`, likelier near the
    touch, of `size_ratio` times the lots displayed there on average. With `iceberg_probability` a
    level's first order is an iceberg, whose number of refills is beta-geometric with `prior_a` and
    `prior_b`. The other keys are the rules by which `detector()` finds icebergs, in an execution's
    own flow and in a feed.

    The prior's defaults are of the hour from 9:30 of AAPL on 21 June 2012 (LOBSTER): 40 % of the
    sweeps met a hidden order, and the mean hidden order had 1.8 times the mean displayed touch.
    """

    path: ClassVar[str] = "hidden_liquidity"

    enabled: bool = False
    probability: float = Field(default=0.4, ge=0, lt=1)
    size_ratio: float = Field(default=1.8, gt=0, le=100)
    parameters: dict[str, Any] = Field(default_factory=dict)
    iceberg_probability: float = Field(default=0.05, ge=0, le=1)
    prior_a: float = Field(default=1.0, gt=0, le=1_000)
    prior_b: float = Field(default=2.0, gt=0, le=1_000)
    confirm_refills: int = Field(default=2, ge=1, le=1_000)
    high_confidence_refills: int = Field(default=3, ge=1, le=1_000)
    window_s: float = Field(default=60.0, gt=0, le=86_400)
    refill_within_s: float = Field(default=1.0, ge=0, le=86_400)
    low_ratio: float = Field(default=0.8, gt=0, le=1)
    high_ratio: float = Field(default=1.2, ge=1)
    display_weight: float = Field(default=0.3, gt=0, le=1)
    max_candidates: int = Field(default=10_000, ge=1, le=10_000_000)

    @model_validator(mode="after")
    def _buildable(self) -> Self:
        try:
            self.rules()
        except InvalidInput as fault:
            text = str(fault).replace("_ns:", "_s, in nanoseconds:", 1)
            raise ValueError(f"!{text}") from fault
        try:
            self.usual()
        except InvalidInput as fault:
            raise ValueError(f"!parameters.{fault}") from fault
        return self

    def usual(self) -> UsualHidden | None:
        """Return what hidden orders to expect behind a displayed depth; None for none."""
        if self.parameters:
            return UsualHidden.from_parameters(self.parameters)
        model = HiddenLiquidityModel(HiddenPrior(probability=self.probability))
        return model.usual(size_ratio=self.size_ratio)

    def rules(self) -> DetectionRules:
        """Return the rules of detection."""
        return DetectionRules(
            window_ns=round(self.window_s * _NS),
            refill_within_ns=round(self.refill_within_s * _NS),
            low_ratio=self.low_ratio,
            high_ratio=self.high_ratio,
            display_weight=self.display_weight,
            confirm_refills=self.confirm_refills,
            high_confidence_refills=self.high_confidence_refills,
            prior_a=self.prior_a,
            prior_b=self.prior_b,
            max_candidates=self.max_candidates,
        )

    def detector(self) -> IcebergDetector:
        """Return a detector by these rules, for a feed's orders."""
        return IcebergDetector(self.rules())


class _Usual(NamedTuple):
    """What a kind of venue is like where its entry says nothing else."""

    min_quantity: float
    max_quantity: float
    base_fill_probability: float
    size_penalty: float
    latency_us: float
    leakage_bps: float


_USUAL: Final = {
    VenueKind.MIDPOINT_CROSS: _Usual(1, 10_000, 0.3, 1.0, 500, 0.0),
    VenueKind.BROKER_POOL: _Usual(1, 5_000, 0.4, 1.5, 300, 0.1),
    VenueKind.BLOCK_POOL: _Usual(1_000, 100_000, 0.15, 0.5, 1_000, 0.05),
    VenueKind.MARKET_MAKER: _Usual(1, 2_000, 0.6, 2.0, 200, 0.3),
}
"""Round figures; measure your own."""


class DarkVenueConfig(Section):
    """One dark pool; what is left out is what is usual for its type.

    Quantities are in units of the symbol. `leakage_bps` is by how much the mid moves against an
    order of `max_quantity` that was sent there, filled or not; smaller ones leak in proportion.
    """

    path: ClassVar[str] = "dark_pools.venues"

    name: str = Field(min_length=1, max_length=64)
    type: VenueKind = VenueKind.MIDPOINT_CROSS
    min_quantity: float = Field(default=1, gt=0, le=1e18)
    max_quantity: float = Field(default=10_000, gt=0, le=1e18)
    base_fill_probability: float = Field(default=0.3, ge=0, le=1)
    size_penalty: float = Field(default=1.0, ge=0)
    latency_us: float = Field(default=500.0, ge=0, le=1e9)
    leakage_bps: float = Field(default=0.0, ge=0, le=1_000)

    @model_validator(mode="before")
    @classmethod
    def _as_usual(cls, values: Any) -> Any:
        """Fill what is left out by what is usual for the type."""
        kind = values.get("type", VenueKind.MIDPOINT_CROSS) if isinstance(values, dict) else None
        if kind not in tuple(VenueKind):
            return values
        return _USUAL[VenueKind(kind)]._asdict() | values

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.max_quantity < self.min_quantity:
            allowed = f"min_quantity {self.min_quantity:g} or more"
            raise ValueError(f"!max_quantity: {self.max_quantity:g}; allowed: {allowed}")
        return self

    def venue(self, lot_size: float) -> DarkVenue:
        """Return the venue in lots of a size, in units of the symbol."""
        min_lots = max(1, round(self.min_quantity / lot_size))
        return DarkVenue(
            name=self.name,
            kind=self.type,
            min_lots=min_lots,
            max_lots=max(min_lots, min(round(self.max_quantity / lot_size), 2**62)),
            base_fill_probability=self.base_fill_probability,
            size_penalty=self.size_penalty,
            latency_us=self.latency_us,
            leakage_bps=self.leakage_bps,
        )


def _usual_venues() -> tuple[DarkVenueConfig, ...]:
    return (
        DarkVenueConfig(name="midpoint", type=VenueKind.MIDPOINT_CROSS),
        DarkVenueConfig(name="broker", type=VenueKind.BROKER_POOL),
        DarkVenueConfig(name="block", type=VenueKind.BLOCK_POOL),
    )


class DarkPoolsConfig(Section):
    """The dark pools that an order visits before the lit book; read by executions.

    At most `max_dark_fill_pct` per cent of an order goes there; of what was sent and filled the
    last `max_history_size` are kept for `stats()`.
    """

    path: ClassVar[str] = "dark_pools"

    enabled: bool = False
    routing: Routing = Routing.SEQUENTIAL
    max_dark_fill_pct: float = Field(default=50.0, ge=0, le=100)
    max_history_size: int = Field(default=DEFAULT_MAX_HISTORY_SIZE, ge=1, le=10_000_000)
    venues: tuple[DarkVenueConfig, ...] = Field(
        default_factory=_usual_venues, min_length=1, max_length=MAX_VENUES
    )

    @model_validator(mode="after")
    def _different_names(self) -> Self:
        names = [venue.name for venue in self.venues]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"!venues: {twice!r} twice; allowed: names that differ")
        return self
