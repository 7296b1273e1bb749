"""Forecast every order of a market as it arrives, from what was known by then and nothing else.

Prequential (Dawid, Journal of the Royal Statistical Society A 147, 1984): the model is fitted anew
every `refit_s` seconds to the orders that came at least `purge_s` before and whose window is
closed, and forecasts those that arrive until the next fit. Between fits its log odds are corrected
by how its own past forecasts have come out (`fit_recalibration`), every `recalibrate_s`, again only
by windows that are closed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from lob.bounds import Floats, as_given
from lob.fill_probability.forecast import (
    HORIZONS_S,
    RIDGES,
    ArrivalForecast,
    fill_probabilities,
    fit_arrival_forecast,
    fit_recalibration,
)
from touchstone.fidelity.forecast_baselines import Queues, Rows, baseline_forecasts

__all__ = [
    "Forecasts",
    "Protocol",
    "corrected_forecasts",
    "prequential_forecasts",
    "running_base_rate",
]

_FITTED_MAX: Final = 60_000
"""Cases that go into one fit, at most; and in all the fits of a market together, so that a day of a
busy one takes minutes. They are taken evenly from the past."""
_FITTED_IN_ALL: Final = 3_000_000
_FITTED_MIN: Final = 10_000
_HALF_LIVES_KEPT: Final = 4


@dataclass(frozen=True, slots=True)
class Protocol:
    """When forecasts are made and fitted, in seconds; and how fast the past is forgotten.

    `half_life_s` is how long until an outcome counts half in the correction, `strength` how many
    windows of outcomes the prior of no correction is worth: within one window outcomes overlap, and
    are hardly more than one.
    """

    warm_up_s: float = 1_200.0
    refit_s: float = 300.0
    purge_s: float = 60.0
    recalibrate_s: float = 30.0
    half_life_s: float = 300.0
    strength: float = 1.0
    horizons_s: tuple[float, ...] = HORIZONS_S
    ridges: tuple[float, ...] = RIDGES

    def within(self, seconds: float) -> "Protocol":
        """Return it for a market of so many seconds: where it is short, a third warms up."""
        if seconds >= 1.5 * self.warm_up_s:
            return self
        warm_up = seconds / 3
        refit = min(self.refit_s, warm_up / 4)
        return Protocol(
            warm_up, refit, self.purge_s, min(self.recalibrate_s, refit), self.half_life_s,
            self.strength, self.horizons_s, self.ridges,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Forecasts:
    """P(fill within each horizon), cases x horizons; NaN where none was made.

    `corrected` is the forecast, `fitted` the same before its correction, from the log odds of each
    stage in `stage_logits`; `baselines` are those it is held against, `fits` the models with the
    time each was fitted at.
    """

    corrected: Floats
    fitted: Floats
    stage_logits: Floats
    baselines: dict[str, Floats] = field(default_factory=dict)
    fits: tuple[tuple[float, ArrivalForecast], ...] = ()


def prequential_forecasts(
    features: Floats,
    queues: Queues,
    end_s: float,
    protocol: Protocol,
    *,
    progress: Callable[[str], None],
    with_baselines: bool = True,
) -> Forecasts:
    """Return the forecasts of every case that arrived after the warm-up.

    Cases are in order of arrival; nothing that came after a case's arrival has a part in its
    forecast. At most 60,000 cases, taken evenly from the past, go into one fit, and fewer where a
    long market has many fits: about 3,000,000 in all.
    """
    count, horizons = len(features), protocol.horizons_s
    logits = np.full((count, len(horizons)), np.nan)
    baselines: dict[str, Floats] = {}
    fits: list[tuple[float, ArrivalForecast]] = []
    at_s = protocol.warm_up_s
    share = _FITTED_IN_ALL * protocol.refit_s / max(end_s - at_s, protocol.refit_s, 1e-9)
    most = int(min(_FITTED_MAX, max(_FITTED_MIN, share)))
    while at_s < end_s:
        progress(f"fill forecasts: fit at {at_s:.0f} of {end_s:.0f} s")
        now = _between(queues.arrival_s, at_s, at_s + protocol.refit_s)
        past = _past(queues, at_s, protocol)
        if len(now) and len(past):
            start = fits[-1][1] if fits else None
            past = _evenly(past, most)
            model = _fitted(features, queues, past, at_s, protocol, start)
            fits.append((at_s, model))
            logits[now] = model.stage_logits(features[now])
            if with_baselines:
                for name, p in baseline_forecasts(queues, past, now, at_s, horizons).items():
                    baselines.setdefault(name, np.full(logits.shape, np.nan))[now] = p
        at_s += protocol.refit_s
    return Forecasts(
        corrected_forecasts(logits, queues, end_s, protocol),
        fill_probabilities(logits),
        logits,
        baselines,
        tuple(fits),
    )


def running_base_rate(queues: Queues, horizon_s: float) -> Floats:
    """Return, at each arrival, the share of all windows closed by then that saw a fill.

    With half a fill and half a case without one added, so that it is never 0 or 1.
    """
    closes = queues.arrival_s + horizon_s
    counted = queues.known_s >= horizon_s
    fills = np.concatenate([[0], np.cumsum(counted & (queues.fill_s <= horizon_s))])
    cases = np.concatenate([[0], np.cumsum(counted)])
    closed = np.searchsorted(closes, queues.arrival_s, side="right")
    return as_given((fills[closed] + 0.5) / (cases[closed] + 1))


def _between(times: Floats, begin: float, end: float) -> Rows:
    """Return the places of times in [begin, end)."""
    first, last = np.searchsorted(times, [begin, end], side="left")
    return np.arange(first, last)


def _past(queues: Queues, at_s: float, protocol: Protocol) -> Rows:
    """Return the cases that a fit may see; none where not one first window is closed."""
    rows = _between(queues.arrival_s, -np.inf, np.nextafter(at_s - protocol.purge_s, np.inf))
    known = np.minimum(queues.known_s[rows], at_s - queues.arrival_s[rows])
    if not (known >= protocol.horizons_s[0]).any():
        return rows[:0]
    return rows


def _evenly(rows: Rows, most: int) -> Rows:
    """Return as many of the rows as allowed, at equal distances."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]


def _fitted(
    features: Floats,
    queues: Queues,
    past: Rows,
    at_s: float,
    protocol: Protocol,
    start: ArrivalForecast | None,
) -> ArrivalForecast:
    known = np.minimum(queues.known_s[past], at_s - queues.arrival_s[past])
    waits = np.where(queues.fill_s[past] <= known, queues.fill_s[past], np.inf)
    return fit_arrival_forecast(
        features[past],
        waits,
        known,
        horizons_s=protocol.horizons_s,
        ridges=protocol.ridges,
        start=start,
    )


def corrected_forecasts(logits: Floats, queues: Queues, end_s: float, protocol: Protocol) -> Floats:
    """Return P(fill within each horizon), each stage corrected by how earlier ones came out."""
    found = logits.copy()
    arrival, waits = queues.arrival_s, queues.fill_s
    begins = (0.0, *protocol.horizons_s[:-1])
    for stage, (begin, end) in enumerate(zip(begins, protocol.horizons_s, strict=True)):
        usable = np.isfinite(logits[:, stage]) & (queues.known_s >= end)
        if stage:
            usable &= waits > begin
        rows = np.flatnonzero(usable)
        at_s = protocol.warm_up_s
        while at_s < end_s:
            now = _between(arrival, at_s, at_s + protocol.recalibrate_s)
            since = at_s - _HALF_LIVES_KEPT * protocol.half_life_s
            # Closed: arrival + horizon <= now.
            first, last = np.searchsorted(arrival[rows], [since, np.nextafter(at_s - end, np.inf)])
            past = rows[first:last]
            if len(past) and len(now):
                span = max(at_s - float(arrival[past[0]]), end)
                correction = fit_recalibration(
                    logits[past, stage],
                    waits[past] <= end,
                    0.5 ** ((at_s - end - arrival[past]) / protocol.half_life_s),
                    strength=protocol.strength * (1 + len(past) / span * end),
                )
                found[now, stage] = correction.apply(logits[now, stage])
            at_s += protocol.recalibrate_s
    return fill_probabilities(found)
