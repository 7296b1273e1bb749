"""All that a market's feed says of the simulator's parameters, and the configuration it makes.

Every number comes with how well it fits; what the data cannot say keeps the value of the preset and
is named among `unknown`.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lob.calibration.flow_fit import FlowFit, fit_flow
from lob.calibration.hidden_fit import HiddenFit, fit_hidden
from lob.calibration.impact_fit import ImpactFit, fit_impact
from lob.calibration.latency_fit import LatencyFit, fastest_reaction_us, fit_latency
from lob.calibration.moments import DEFAULT_EVALUATIONS, MomentFit, fit_moments
from lob.calibration.rates_fit import RatesFit, fit_rates
from lob.calibration.tape import make_tape
from lob.clustered_profile import ClusteredProfile
from lob.config import L3ExecutionConfig, create_l3_config
from lob.hawkes.multiscale import MultiscaleFit
from lob.hidden import Depth, Sweep
from lob.messages import Array
from lob.types import Instrument

Progress = Callable[[str, int, int], None]
"""Told what is being done, and how many steps of how many are."""

_DIGITS: Final = 6
_RESTING_MAX: Final = 1_000_000
"""The most that `LobDataConfig` takes."""


@dataclass(frozen=True, slots=True)
class MarketCalibration:
    """The fits of one market; `config` is what the simulator takes from them."""

    market: str
    seconds: float
    events: int
    flow: FlowFit
    moments: MomentFit | None
    rates: RatesFit
    impact: ImpactFit
    latency: LatencyFit | None
    fastest_reaction_us: float | None
    hidden: HiddenFit | None

    @property
    def profile(self) -> ClusteredProfile:
        """Return the profile of the flow's generator."""
        return self.flow.profile if self.moments is None else self.moments.profile

    def config(self, preset: str = "equity") -> L3ExecutionConfig:
        """Return a preset with all that was fitted in it.

        Impact is on where one of its coefficients is more than two standard errors above 0, hidden
        liquidity where the feed shows any.
        """
        found: dict[str, Any] = {"lob_data": self._lob_data(), "market_impact": self._impact()}
        if self.latency is not None:
            found["latency"] = {
                "feed_us": _rounded(self.latency.feed_us),
                "cv": _rounded(max(self.latency.cv, 1e-6)),
                "distribution": self.latency.distribution.value,
            }
        if self.hidden is not None:
            found["hidden_liquidity"] = {"enabled": True, "parameters": self.hidden.parameters}
        return create_l3_config(preset, **found)

    def unknown(self) -> dict[str, str]:
        """Return the keys that keep the preset's values, and why."""
        said = {
            "latency.order_us, exchange_us, fill_us": "no public feed shows a participant's clock",
            "market_impact.tau_s, beta": "the mid's response to trades does not fade in the window",
            "hidden_liquidity.iceberg_probability, prior_a, prior_b": (
                "icebergs are detected by their refills, not fitted here"
            ),
        }
        if self.latency is None:
            said["latency.feed_us, cv"] = "the file has one clock, or two that disagree"
        if self.hidden is None:
            said["hidden_liquidity.parameters"] = "the feed names no executions of hidden orders"
        for name in ("gamma", "eta"):
            fitted = getattr(self.impact, name)
            if not fitted.significant:
                said[f"market_impact.{name}"] = (
                    f"{fitted.value:.3g} with a standard error of {fitted.error:.3g}"
                )
        return said

    def to_json(self) -> dict[str, Any]:
        """Return every fit with its goodness, as JSON can say it."""
        moments = self.moments
        return {
            "market": self.market,
            "seconds": self.seconds,
            "events": self.events,
            "arrivals": {
                name: _excitation(getattr(self.flow, name))
                for name in ("limits", "cancels", "markets")
            },
            "generator": {
                "branching_ratio": self.profile.branching_ratio,
                "moment_loss": None if moments is None else moments.loss,
                "evaluations": 0 if moments is None else moments.evaluations,
                "knobs": None if moments is None else moments.knobs._asdict(),
            },
            "rates": _plain(self.rates),
            "impact": _plain(self.impact),
            "latency": None if self.latency is None else _plain(self.latency),
            "fastest_reaction_us": self.fastest_reaction_us,
            "hidden": None if self.hidden is None else _plain(self.hidden),
            "unknown": self.unknown(),
        }

    def _lob_data(self) -> dict[str, float]:
        rates = self.rates
        return {
            "limits_per_second": _rounded(rates.limits.per_second),
            "cancels_per_second": _rounded(rates.cancels.per_second),
            "markets_per_second": _rounded(rates.markets.per_second),
            "resting_orders": min(rates.resting_orders, _RESTING_MAX),
            "distance_ticks": _rounded(rates.distance_ticks),
            "order_lots": _rounded(rates.order_lots),
            "round_lots": rates.round_lots,
            "round_share": _rounded(rates.round_share),
        }

    def _impact(self) -> dict[str, Any]:
        impact = self.impact
        found: dict[str, Any] = {
            "enabled": impact.gamma.significant or impact.eta.significant,
            "sigma": _rounded(impact.sigma),
            "adv_quantity": _rounded(impact.adv_quantity),
        }
        if impact.gamma.significant:
            found |= {
                "gamma": _rounded(impact.gamma.value),
                "kyle_lambda": _rounded(impact.kyle.value),
            }
        if impact.eta.significant:
            found |= {"eta": _rounded(impact.eta.value), "delta": _rounded(min(impact.delta, 2.0))}
        if impact.square_root.significant:
            found["square_root_y"] = _rounded(impact.square_root.value)
        if impact.linear.significant:
            found["linear_coefficient"] = _rounded(impact.linear.value)
        return found


def fit_market(
    name: str,
    messages: Array,
    instrument: Instrument,
    hidden: Array | None = None,
    *,
    sweeps: Iterable[tuple[Sweep, Depth]] = (),
    receipts: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None,
    session_seconds: float = 23_400.0,
    evaluations: int = DEFAULT_EVALUATIONS,
    seed: int = 0,
    progress: Progress | None = None,
) -> MarketCalibration:
    """Fit everything to a feed's messages (and `lob.recording.HIDDEN_DTYPE` executions).

    `sweeps` are its aggressive orders with the depth before each, for the hidden liquidity;
    `receipts` the times of events and of their receipt, for the feed's latency. With `evaluations`
    0 the generator keeps what likelihood alone gave it. Same arguments, same result.

    Raises:
        InvalidInput: the market is too small or one-sided; it says what is missing.
    """
    told = progress or (lambda _text, _done, _total: None)
    told("reading the tape", 0, 1)
    tape = make_tape(messages, instrument, hidden)
    told("intensities and impact", 0, 1)
    rates = fit_rates(tape)
    flow = fit_flow(tape)
    impact = fit_impact(tape, session_seconds=session_seconds)
    hidden_fit = fit_hidden(sweeps, instrument)
    latency = None if receipts is None else fit_latency(*receipts)
    moments = None
    if evaluations:
        moments = fit_moments(
            tape,
            flow,
            seed=seed,
            evaluations=evaluations,
            progress=lambda done, total, _: told("generator", done, total),
        )
    return MarketCalibration(
        name,
        tape.duration,
        len(tape.seconds),
        flow,
        moments,
        rates,
        impact,
        latency,
        fastest_reaction_us(tape),
        hidden_fit,
    )


def _excitation(fit: MultiscaleFit) -> dict[str, Any]:
    gain = (fit.log_likelihood - fit.poisson_log_likelihood) / fit.events
    return {
        "mu_per_second": fit.mu,
        "mu_error": fit.mu_error,
        "decays_per_second": list(fit.decays),
        "offspring": [list(row) for row in fit.offspring],
        "offspring_errors": [list(row) for row in fit.offspring_errors],
        "log_likelihood_gain_per_event": gain,
        "residual_test": _plain(fit.residual_test),
        "events": fit.events,
        "converged": fit.converged,
    }


def _plain(value: Any) -> Any:
    """Return named tuples and dataclasses as mappings; a number that is not finite as None."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    elif is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
