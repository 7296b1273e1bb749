"""Evidence that fill forecasts are good: every order of a market is forecast as it arrives.

Every order that comes to rest is a case, and its outcome is that of a shadow order in its place
that is not cancelled (`forecast_labels`). Forecasts are prequential (`forecast_protocol`): refitted
every 300 s to orders that came at least 60 s before and whose windows are closed, the first after
20 minutes (a third of a shorter market, refitted four times as often as that is long). P(fill
within 1, 10 and 60 s) comes from `lob.fill_probability.fit_arrival_forecast` on features known at
arrival, and grows with the horizon by construction. Skill is 1 - Brier / Brier of a base rate, the
lower of two: against the share of closed windows that saw a fill by the time of the forecast, and
against the share that came of the very cases scored, which nobody could have known. ECE has ten
bins of equal width. Differences have a bootstrap interval of whole 60 s blocks, and the
Kaplan-Meier in the check is the better of two: by the queue at the price, or by all ahead. Weights,
centres and corrections come from the past of each forecast alone; the few constants (penalties,
half-life and prior of the correction) were set once, for every market, on the AAPL hour of
21 June 2012, and a table shows how little hangs on them (for markets of up to 60,000 orders). Of
more than 150,000 orders as many are drawn by the seed. A horizon is judged where 50 of the cases
scored saw a fill and 50 none.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lob.bounds import Floats, as_given
from lob.fill_probability.forecast_features import FEATURES, arrival_features
from lob.messages import Action
from touchstone.fidelity.evidence import (
    Cell,
    Check,
    Evidence,
    Figure,
    Series,
    Table,
    Unmeasured,
)
from touchstone.fidelity.forecast_baselines import Queues
from touchstone.fidelity.forecast_labels import ShadowFills, shadow_fills
from touchstone.fidelity.forecast_protocol import (
    Forecasts,
    Protocol,
    corrected_forecasts,
    prequential_forecasts,
    running_base_rate,
)
from touchstone.fidelity.forecast_scores import (
    ForecastScore,
    block_difference,
    reliability_series,
    score_forecast,
    skill_over_time,
)
from touchstone.fidelity.market import EndReason, Market

__all__ = ["Cases", "forecast_cases", "measure"]

SKILL_BARS: Final = (0.06, 0.08, 0.03)
ECE_BARS: Final = (0.015, 0.02, 0.04)
MIN_OUTCOMES: Final = 50
"""Fills, and orders without one, that the scored cases of a horizon must have to be judged."""

_CASES_MAX: Final = 150_000
_CHOICES_MAX: Final = 60_000
"""Of a market of more cases, what hangs on the choices is not shown: it would take long."""
_AHEAD: Final = FEATURES.index("lots_ahead_at_price")
_BEFORE: Final = FEATURES.index("lots_ahead")
_BEHIND: Final = FEATURES.index("spreads_behind_touch")
_PLACES: Final = ("improves the touch", "joins the touch", "within a usual spread", "further out")
_TITLES: Final = {
    "constant": "constant: share so far",
    "exponential": "exponential: one fill rate",
    "kaplan_meier_by_queue": "Kaplan-Meier by queue at its price",
    "kaplan_meier_by_depth": "Kaplan-Meier by all ahead of it",
    "kaplan_meier_censored": "the same, cancels as censored",
    "erlang_trades": "Erlang, trades (as RiskAdverseQueueModel)",
    "erlang_cancels": "Erlang, trades and cancels (as ProbQueueModel)",
    "erlang_fitted": "Erlang, rate fitted",
}
_OURS: Final = "fitted hazard, corrected"
_KAPLAN_MEIER: Final = ("kaplan_meier_by_queue", "kaplan_meier_by_depth")


@dataclass(frozen=True, slots=True, eq=False)
class Cases:
    """The cases of a market in order of arrival: features at arrival, outcomes, queues."""

    features: Floats
    fills: ShadowFills
    queues: Queues


@dataclass(frozen=True, slots=True, eq=False)
class _Horizon:
    """The scored cases of one horizon: those forecast whose window the market saw to its end."""

    seconds: float
    column: int
    rows: NDArray[np.bool_]
    came: NDArray[np.bool_]
    running: Floats
    arrival_s: Floats

    @property
    def can_be_judged(self) -> bool:
        fills = int(self.came.sum())
        return min(fills, len(self.came) - fills) >= MIN_OUTCOMES

    def of(self, table: Floats) -> Floats:
        """Return a forecast's column for the scored cases."""
        return as_given(table[self.rows, self.column])


def forecast_cases(market: Market, *, watch_s: float = 60.0, seed: int = 0) -> Cases:
    """Return every order that came to rest, as it was seen then and as it would have come out.

    Of more than 150,000 orders as many are drawn by the seed.
    """
    fills = shadow_fills(market, watch_s=watch_s, most=_CASES_MAX, seed=seed)
    names = ("before_index", "ts_event_ns", "side")
    hidden = zip(*(market.hidden[name].tolist() for name in names), strict=True)
    arrivals = market.orders["arrival_index"][fills.rows]
    features = arrival_features(market.messages, arrivals, hidden=hidden)
    return Cases(features, fills, _queues(market, fills, features))


def measure(market: Market, *, progress: Callable[[str], None], seed: int = 0) -> Evidence:
    """Forecast every order of a market as it arrives, and score the forecasts."""
    progress(f"{market.name}: outcomes and features of every order")
    cases = forecast_cases(market, seed=seed)
    protocol = Protocol().within(market.seconds)
    made = prequential_forecasts(
        cases.features, cases.queues, market.seconds, protocol, progress=progress
    )
    horizons = _horizons(cases.queues, made, protocol)
    judged = [one for one in horizons if one.can_be_judged]
    unmeasured = tuple(_unmeasured(market.name, one) for one in horizons if not one.can_be_judged)
    tables = [_scores_table(horizons, made, seed)]
    figures: list[Figure] = []
    if judged:
        tables.append(_places_table(judged, made, cases.features))
        if len(cases.features) <= _CHOICES_MAX:
            tables.append(_choices_table(judged, cases, made, protocol, market.seconds, progress))
        figures = _figures(judged, made, protocol)
    return Evidence(
        "forecast",
        "Fill forecasts at arrival",
        " ".join((__doc__ or "").split("\n\n")[1].split()),
        tuple(check for one in judged for check in _checks(market.name, one, made, seed)),
        tuple(tables),
        tuple(figures),
        unmeasured,
    )


def _queues(market: Market, fills: ShadowFills, features: Floats) -> Queues:
    orders, messages = market.orders[fills.rows], market.messages
    is_trade = messages["action"] == Action.FEED_EXECUTE
    left = np.where(
        np.isin(orders["end_reason"], (EndReason.CANCELLED, EndReason.MOVED, EndReason.STALE)),
        (orders["end_ns"] - market.start_ns) / 1e9,
        np.inf,
    )
    return Queues(
        fills.arrival_s,
        fills.fill_s,
        fills.known_s,
        as_given(np.sinh(features[:, _AHEAD])),
        as_given(np.sinh(features[:, _BEFORE])),
        as_given(orders["quantity_lots"]),
        as_given(left),
        as_given((messages["ts_event_ns"][is_trade] - market.start_ns) / 1e9),
        as_given(messages["quantity_lots"][is_trade]),
    )


def _horizons(queues: Queues, made: Forecasts, protocol: Protocol) -> list[_Horizon]:
    found = []
    for column, seconds in enumerate(protocol.horizons_s):
        rows = np.isfinite(made.corrected[:, column]) & (queues.known_s >= seconds)
        found.append(
            _Horizon(
                seconds,
                column,
                rows,
                queues.fill_s[rows] <= seconds,
                as_given(running_base_rate(queues, seconds)[rows]),
                as_given(queues.arrival_s[rows]),
            )
        )
    return found


def _checks(name: str, one: _Horizon, made: Forecasts, seed: int) -> list[Check]:
    about = f"{name}: {one.seconds:g} s"
    score = score_forecast(one.of(made.corrected), one.came, one.running)
    skill = min(score.skill, score.hindsight)
    skill_bar, ece_bar = SKILL_BARS[one.column], ECE_BARS[one.column]
    found = [
        Check(f"{about}: Brier skill", skill, f"at least {skill_bar:g}", skill >= skill_bar),
        Check(
            f"{about}: calibration error", score.ece, f"at most {ece_bar:g}", score.ece <= ece_bar
        ),
    ]
    if one.column == 0:
        than = _difference(one, made, _best_kaplan_meier(one, made), seed)
        found.append(
            Check(
                f"{about}: Brier less that of Kaplan-Meier by queue bucket, upper bound",
                than[2],
                "below 0",
                than[2] < 0,
            )
        )
    return found


def _unmeasured(name: str, one: _Horizon) -> Unmeasured:
    fills = int(one.came.sum())
    return Unmeasured(
        f"{name}: {one.seconds:g} s: Brier skill, calibration error",
        f"{fills} fills and {len(one.came) - fills} orders without one among the cases scored; "
        f"needed: {MIN_OUTCOMES} each",
    )


def _best_kaplan_meier(one: _Horizon, made: Forecasts) -> str:
    """Return the better of the two queues to make buckets of: at the price, or all before it."""
    return min(
        _KAPLAN_MEIER,
        key=lambda name: float(np.mean((one.of(made.baselines[name]) - one.came) ** 2)),
    )


def _difference(
    one: _Horizon, made: Forecasts, baseline: str, seed: int
) -> tuple[float, float, float]:
    found = block_difference(
        one.of(made.corrected), one.of(made.baselines[baseline]), one.came, one.arrival_s, seed=seed
    )
    return found.value, found.low, found.high


def _scores_table(horizons: list[_Horizon], made: Forecasts, seed: int) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for one in horizons:
        if not len(one.came):
            continue
        forecasts = {_OURS: made.corrected, "fitted hazard, as fitted": made.fitted}
        for title, table in forecasts.items():
            score = score_forecast(one.of(table), one.came, one.running)
            rows.append((f"{one.seconds:g} s", title, *_cells(score), "", "", ""))
        for baseline, table in made.baselines.items():
            score = score_forecast(one.of(table), one.came, one.running)
            than = _difference(one, made, baseline, seed)
            cells = (round(1e3 * x, 3) for x in than)
            rows.append((f"{one.seconds:g} s", _TITLES[baseline], *_cells(score), *cells))
    columns = (
        "horizon", "forecast", "cases", "base rate", "Brier", "skill", "skill in hindsight",
        "log loss", "AUC", "ECE", "ours less its Brier x 1000", "low", "high",
    )  # fmt: skip
    return Table(
        "Forecasts, prequential, and baselines fitted on the same schedule", columns, tuple(rows)
    )


def _cells(score: ForecastScore) -> tuple[Cell, ...]:
    values = (
        score.base_rate, score.brier, score.skill, score.hindsight,
        score.log_loss, score.auc, score.ece,
    )  # fmt: skip
    return (score.cases, *(round(x, 4) if math.isfinite(x) else "" for x in values))


def _places_table(horizons: list[_Horizon], made: Forecasts, features: Floats) -> Table:
    """Score the orders by where they were placed: far ones are easily told from near ones."""
    behind = np.sinh(features[:, _BEHIND])
    place = np.select([behind < 0, behind == 0, behind <= 1], [0, 1, 2], 3)
    rows: list[tuple[Cell, ...]] = []
    for one in horizons:
        where, p = place[one.rows], one.of(made.corrected)
        reference = one.of(made.baselines[_best_kaplan_meier(one, made)])
        for at, title in enumerate(_PLACES):
            here = where == at
            if here.sum() < MIN_OUTCOMES:
                continue
            score = score_forecast(p[here], one.came[here], one.running[here])
            other = float(np.mean((reference[here] - one.came[here]) ** 2))
            than = 1 - score.brier / other if other > 0 else float("nan")
            rows.append(
                (
                    f"{one.seconds:g} s",
                    title,
                    *_cells(score),
                    round(than, 4) if math.isfinite(than) else "",
                )
            )
    columns = (
        "horizon", "the order", "cases", "base rate", "Brier", "skill", "skill in hindsight",
        "log loss", "AUC", "ECE", "skill over Kaplan-Meier",
    )  # fmt: skip
    return Table(
        "By the place of the order; hindsight knows the place's own base rate", columns, tuple(rows)
    )


def _choices_table(
    horizons: list[_Horizon],
    cases: Cases,
    made: Forecasts,
    protocol: Protocol,
    seconds: float,
    progress: Callable[[str], None],
) -> Table:
    """Show how much hangs on the few numbers that somebody had to choose."""
    rows: list[tuple[Cell, ...]] = []

    def add(title: str, table: Floats) -> None:
        for one in horizons:
            score = score_forecast(one.of(table), one.came, one.running)
            skill = min(score.skill, score.hindsight)
            rows.append((title, f"{one.seconds:g} s", round(skill, 4), round(score.ece, 4)))

    add("as measured", made.corrected)
    add("no correction between fits", made.fitted)
    for title, other in (
        ("outcomes count half after 900 s", replace(protocol, half_life_s=900.0)),
        ("three windows of prior", replace(protocol, strength=3.0)),
    ):
        add(title, corrected_forecasts(made.stage_logits, cases.queues, seconds, other))
    for ridge in protocol.ridges:
        progress(f"fill forecasts: penalty {ridge:g} alone")
        again = prequential_forecasts(
            cases.features,
            cases.queues,
            seconds,
            replace(protocol, ridges=(ridge,)),
            progress=lambda _: None,
            with_baselines=False,
        )
        add(f"penalty {ridge:g} alone", again.corrected)
    return Table("What hangs on the choices", ("choice", "horizon", "skill", "ECE"), tuple(rows))


def _figures(horizons: list[_Horizon], made: Forecasts, protocol: Protocol) -> list[Figure]:
    diagonal = Series("perfect", (0.0, 1.0), (0.0, 1.0))
    reliability = tuple(
        reliability_series(f"{one.seconds:g} s", one.of(made.corrected), one.came)
        for one in horizons
    )
    over_time = tuple(
        skill_over_time(
            f"{one.seconds:g} s",
            one.of(made.corrected),
            one.came,
            one.running,
            one.arrival_s,
            protocol.refit_s,
        )
        for one in horizons
    )
    return [
        Figure(
            "Reliability of fill forecasts (ten bins of equal count)",
            "forecast",
            "share filled",
            (*reliability, diagonal),
        ),
        Figure(
            "Skill of fill forecasts over time", "minutes from the start", "Brier skill", over_time
        ),
    ]
