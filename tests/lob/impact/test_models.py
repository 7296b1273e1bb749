"""Impact in basis points: the guide's check value, what is refused, and how it fades."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lob.errors import InvalidInput
from lob.impact import (
    CompositeImpact,
    ExponentialKernel,
    Impact,
    ImpactMarket,
    ImpactModel,
    ImpactTracker,
    KyleImpact,
    LinearImpact,
    ObizhaevaWangImpact,
    PowerLawKernel,
    Quotes,
    ShiftedPowerLawKernel,
    SquareRootImpact,
    TemporaryPermanent,
    kyle_single,
    linear_impact,
    permanent_impact_bps,
    shift_quotes,
    square_root_impact,
    temporary_impact_bps,
)
from lob.types import Side

SECOND = 1_000_000_000
MARKET = ImpactMarket(adv_quantity=1e6, volatility=0.02, mid_price=50.0)
MODELS: list[ImpactModel] = [
    TemporaryPermanent(),
    TemporaryPermanent.crypto(),
    SquareRootImpact(permanent_share=0.4),
    LinearImpact(),
    KyleImpact(lam=1e-5),
    ObizhaevaWangImpact(q=5_000, lambda_perm=1e-4),
    CompositeImpact(models=(LinearImpact(), SquareRootImpact()), weights=(1.0, 3.0)),
]


def test_the_check_value() -> None:
    """Q/ADV .001 at sigma .02: .316 bps temporary and .300 bps permanent."""
    got = TemporaryPermanent().impact(1_000, MARKET)

    assert (0.316, 0.3) == (round(got.temporary_bps, 3), round(got.permanent_bps, 3))
    assert math.isclose(0.05 * 0.02 * math.sqrt(0.001) * 1e4, got.temporary_bps)
    assert math.isclose(got.total_bps, got.temporary_bps + got.permanent_bps)
    assert math.isclose(got.temporary_bps, temporary_impact_bps(1_000, 1e6, 0.02))
    assert math.isclose(got.permanent_bps, permanent_impact_bps(1_000, 1e6))


def test_defaults_by_asset_class() -> None:
    """Equities .05, .03, .5, 30 s, 1.5, .02; crypto .10, .05, .5, 60 s, 1.2, .05."""
    equity, crypto = TemporaryPermanent.equity(), TemporaryPermanent.crypto()

    assert ShiftedPowerLawKernel(30.0, 1.5) == equity.kernel
    assert ShiftedPowerLawKernel(60.0, 1.2) == crypto.kernel
    unknown = ImpactMarket(adv_quantity=1e6)
    assert math.isclose(0.1 * 0.05 * 0.1 * 1e4, crypto.impact(1e4, unknown).temporary_bps)
    assert math.isclose(0.05 * 0.01 * 1e4, crypto.impact(1e4, unknown).permanent_bps)
    # What the market says goes before the default.
    assert equity.impact(1e3, MARKET) == equity.impact(1e3, unknown)
    doubled = equity.impact(1e3, ImpactMarket(adv_quantity=1e6, volatility=0.04))
    assert math.isclose(2 * equity.impact(1e3, MARKET).temporary_bps, doubled.temporary_bps)
    assert ExponentialKernel(1 / 30) == TemporaryPermanent(exponential=True).kernel


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_every_model_starts_at_zero_and_grows(model: ImpactModel) -> None:
    """No trade, no impact; a larger one never has less; what is temporary fades from 1."""
    nothing = model.impact(0, MARKET)
    sizes = [model.impact(quantity, MARKET) for quantity in (1, 10, 1e3, 1e5)]

    assert Impact(0.0, 0.0) == nothing
    assert sizes == sorted(sizes)
    fades = model.kernel.value([0.0, 1.0, 30.0, 1e4])
    assert math.isclose(1, fades[0])
    assert (np.diff(fades) < 0).all()


@pytest.mark.parametrize(
    ("model", "missing"),
    [
        (TemporaryPermanent(), "volatility"),
        (TemporaryPermanent.equity(), "adv_quantity"),
        (SquareRootImpact(), "volatility"),
        (LinearImpact(), "adv_quantity"),
        (KyleImpact(lam=1.0), "mid_price"),
        (ObizhaevaWangImpact(q=1.0), "mid_price"),
    ],
)
def test_what_is_missing_is_refused(model: ImpactModel, missing: str) -> None:
    """A figure that the model needs and nobody gave is never guessed."""
    known = {"adv_quantity": 1e6, "volatility": 0.02, "mid_price": 50.0}
    del known[missing]

    with pytest.raises(InvalidInput, match=rf"^{missing}: missing; allowed: a number"):
        model.impact(1_000, ImpactMarket(**known))


def test_models_agree_with_their_papers() -> None:
    """Kyle's lambda, the square-root and the linear law, and the resilient book, in bps."""
    single = kyle_single(4.0, 1e10)
    assert math.isclose(
        single.lam * 1e3 / 50 * 1e4, KyleImpact(lam=single.lam).impact(1e3, MARKET)[1]
    )
    root = SquareRootImpact(Y=0.8).impact(1e4, MARKET)
    assert math.isclose(float(square_root_impact(1e4, 1e6, 0.02, 0.8)) * 1e4, root.total_bps)
    book = ObizhaevaWangImpact(q=5_000, lambda_perm=1e-4).impact(5_000, MARKET)
    assert math.isclose(1 / 50 * 1e4, book.total_bps)
    assert math.isclose(book.temporary_bps, book.permanent_bps)
    assert [-2.0, 0.0, 2.0] == linear_impact([-4, 0, 4], 0.5).tolist()
    both = CompositeImpact(models=(LinearImpact(), SquareRootImpact()), weights=(1.0, 3.0))
    parts = [model.impact(1e4, MARKET).total_bps for model in both.models]
    assert math.isclose(parts[0] / 4 + 3 * parts[1] / 4, both.impact(1e4, MARKET).total_bps)
    assert (0.5, 0.5) == CompositeImpact(models=both.models).shares


def test_tracker_adds_and_fades() -> None:
    """Permanent parts stay, temporary ones fade each from its own trade, with its sign."""
    tracker = ImpactTracker(ShiftedPowerLawKernel(30.0, 1.5))
    tracker.record(0, Side.BUY, Impact(4.0, 1.0))
    tracker.record(30 * SECOND, Side.SELL, Impact(2.0, 0.25))

    assert math.isclose(4 * 2**-1.5 - 2, tracker.temporary_bps(30 * SECOND))
    assert math.isclose(4 * 3**-1.5 - 2 * 2**-1.5, tracker.temporary_bps(60 * SECOND))
    assert 0.75 == tracker.permanent_bps
    assert math.isclose(0.75, tracker.shift_bps(10**17), abs_tol=1e-3)


def test_tracker_is_bounded() -> None:
    """Beyond its number of trades the oldest goes, and is counted; permanent parts are kept."""
    tracker = ImpactTracker(ExponentialKernel(1.0), max_trades=2)
    for second in range(5):
        tracker.record(second * SECOND, Side.BUY, Impact(1.0, 1.0))

    assert (2, 3, 5.0) == (len(tracker), tracker.dropped, tracker.permanent_bps)
    assert math.isclose(1 + math.exp(-1), tracker.temporary_bps(4 * SECOND))


@given(
    bid=st.integers(1, 10**12),
    spread=st.integers(1, 1000),
    bps=st.floats(-10_000, 10_000),
)
def test_shifted_quotes_never_cross(bid: int, spread: int, bps: float) -> None:
    """Both quotes move by as many ticks, within half a tick of what was asked, and stay above 0."""
    got = shift_quotes(Quotes(bid, bid + spread), bps)

    assert spread == got.ask_ticks - got.bid_ticks
    assert got.bid_ticks >= 1
    wanted = (2 * bid + spread) / 2 * bps / 1e4
    assert got.bid_ticks == 1 or abs(got.bid_ticks - bid - wanted) <= 0.5 + 1e-3


def test_refusals_name_the_argument() -> None:
    """Times that go back, kernels infinite at 0, weights of nothing."""
    tracker = ImpactTracker(ExponentialKernel(1.0))
    tracker.record(5, Side.BUY, Impact(1.0, 0.0))
    with pytest.raises(InvalidInput, match=r"^ts_ns: 4; allowed: 5 or later$"):
        tracker.temporary_bps(4)
    with pytest.raises(InvalidInput, match=r"^temporary_bps: -1\.0; allowed: "):
        tracker.record(6, Side.BUY, Impact(-1.0, 0.0))
    with pytest.raises(InvalidInput, match=r"^kernel: infinite at 0"):
        ImpactTracker(PowerLawKernel(0.5))
    with pytest.raises(InvalidInput, match=r"^weights: all 0"):
        CompositeImpact(models=(LinearImpact(),), weights=(0.0,))
    with pytest.raises(InvalidInput, match=r"^lambda_perm: 2\.0; allowed: 1 / q or less$"):
        ObizhaevaWangImpact(q=1.0, lambda_perm=2.0)
    with pytest.raises(InvalidInput, match=r"^ask_ticks: 5; allowed: a whole number 11\.\."):
        shift_quotes(Quotes(10, 5), 1.0)
    with pytest.raises(
        InvalidInput, match=r"^volatility: nan; allowed: a finite number of 0 or more$"
    ):
        ImpactMarket(volatility=math.nan)
