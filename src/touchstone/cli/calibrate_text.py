"""What `touchstone calibrate` says in text: each figure with its error and its goodness of fit."""

from collections.abc import Iterator, Mapping

from lob.calibration.impact_fit import Coefficient
from lob.calibration.market_fit import MarketCalibration
from lob.calibration.rates_fit import Rate


def lines_of(fitted: MarketCalibration, written: Mapping[str, str]) -> Iterator[str]:
    """Yield the fits as lines of text, what the data cannot say, and what was written."""
    yield f"{fitted.market}: {fitted.events:,} events in {fitted.seconds:,.1f} s"
    yield from _rates(fitted)
    yield from _excitation(fitted)
    yield from _impact(fitted)
    yield from _rest(fitted)
    yield "not to be known from this file (the preset's values stay)"
    for name, why in fitted.unknown().items():
        yield f"  {name}: {why}"
    for name, path in written.items():
        yield f"written: {path} ({name})"


def _rates(fitted: MarketCalibration) -> Iterator[str]:
    rates = fitted.rates
    yield "rates, with the test of a Poisson process (which markets do not pass)"
    for name, rate in (
        ("limit orders", rates.limits),
        ("cancels", rates.cancels),
        ("aggressive orders", rates.markets),
    ):
        yield f"  {name:<18} {_rate(rate)}"
    yield (
        f"  limit orders of {rates.order_lots:.1f} lots, {rates.round_share:.0%} of them of "
        f"{rates.round_lots}, {rates.distance_ticks:.1f} ticks from the opposite touch (gap to a "
        f"geometric law {rates.distance_test:.3f}); {rates.resting_orders} rest"
    )


def _rate(rate: Rate) -> str:
    test = rate.poisson_test
    return (
        f"{rate.per_second:9.4f}/s +- {rate.error:.4f}  n {rate.events:,}  "
        f"Fano {rate.fano_1s:.1f}  KS {test.statistic:.3f} p {test.p_value:.2g}"
    )


def _excitation(fitted: MarketCalibration) -> Iterator[str]:
    yield "arrivals as self-exciting processes (time-rescaled waits against Exp(1))"
    for name in ("limits", "cancels", "markets"):
        fit = getattr(fitted.flow, name)
        gain = (fit.log_likelihood - fit.poisson_log_likelihood) / fit.events
        yield (
            f"  {name:<18} log-likelihood {gain:+.2f} an event over Poisson  "
            f"KS {fit.residual_test.statistic:.3f} p {fit.residual_test.p_value:.2g}"
        )
    moments = fitted.moments
    tuned = "not tuned" if moments is None else f"loss {moments.loss:.3f} of 1 in its figures"
    yield f"generator: branching ratio {fitted.profile.branching_ratio:.3f}, {tuned}"


def _impact(fitted: MarketCalibration) -> Iterator[str]:
    impact = fitted.impact
    yield (
        f"impact: a day of {impact.session_seconds / 3600:g} h like this has volatility "
        f"{impact.sigma:.4f} +- {impact.sigma_error:.4f} and volume {impact.adv_quantity:,.6g}"
    )
    for name, found in (
        ("gamma", impact.gamma),
        ("eta", impact.eta),
        ("square_root_y", impact.square_root),
        ("linear", impact.linear),
        ("kyle_lambda", impact.kyle),
    ):
        extra = f"  delta {impact.delta:.3f}" if name == "eta" else ""
        yield f"  {name:<18} {_coefficient(found)}{extra}"


def _coefficient(found: Coefficient) -> str:
    return f"{found.value:.4g} +- {found.error:.2g}  R2 {found.r2:.3f}  n {found.n:,}"


def _rest(fitted: MarketCalibration) -> Iterator[str]:
    if fitted.latency is not None:
        fit = fitted.latency
        gaps = ", ".join(f"{name} {gap:.3f}" for name, gap in fit.gaps.items())
        yield f"latency: feed {fit.feed_us:.1f} us, cv {fit.cv:.2f}; gaps {gaps}"
    if fitted.fastest_reaction_us is not None:
        yield (
            "latency: 1% of trades are answered by a new order within "
            f"{fitted.fastest_reaction_us:.0f} us"
        )
    if fitted.hidden is not None:
        hidden = fitted.hidden
        yield (
            f"hidden: {hidden.hidden_sweeps:,} of {hidden.sweeps:,} aggressive orders met hidden "
            f"ones, {hidden.share_of_lots:.1%} of the volume; Brier {hidden.brier:.4f}, of the "
            f"share alone {hidden.brier_constant:.4f}"
        )
