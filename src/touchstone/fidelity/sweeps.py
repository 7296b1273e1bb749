"""Evidence: what real aggressive orders cost, against what the L2 walk and the L3 models say."""

from collections.abc import Callable
from typing import Final

import numpy as np

from touchstone.fidelity.evidence import Check, Evidence, Figure, Series, Table, Unmeasured
from touchstone.fidelity.market import Market
from touchstone.fidelity.sweeps_score import (
    LATENCIES_NS,
    Scored,
    Study,
    ratio_interval,
    ratio_of,
    rmse,
    study_sweeps,
)

RATIO_BAR: Final = 0.80
"""What RMSE L3 by RMSE L2 may be at no latency, where the feed names hidden executions."""

HIDDEN_MIN: Final = 0.1
"""Share of the sweeps that must meet hidden orders for L3 to have to be so much better: where
hardly any does, it has only to be no worse."""

SCORED_MIN: Final = 100
"""Fewer scored sweeps than this decide nothing."""

_NS_PER_MS: Final = 1_000_000
_GAPS_NS: Final = (1_000_000, 100_000_000, 1_000_000_000)
_GAP_NAMES: Final = ("under 1 ms", "1 to 100 ms", "0.1 to 1 s", "over 1 s, or none")
_CHANCE_BINS: Final = 10


def measure(
    market: Market,
    *,
    progress: Callable[[str], None],
    seed: int = 0,
    latencies_ns: tuple[int, ...] = LATENCIES_NS,
) -> Evidence:
    """Return the evidence of a market's sweeps; `seed` is that of every draw.

    A market of too few sweeps gets its tables and no checks: it is said why.
    """
    study = study_sweeps(market, progress=progress, latencies_ns=latencies_ns, seed=seed)
    rows, checks, unmeasured = [], [], []
    for scored in study.scored:
        interval = ratio_interval(scored, np.random.default_rng(seed))
        rows.append(_row(scored, interval))
        what = f"{market.name}: {_what(scored)}"
        if len(scored.realised) < SCORED_MIN:
            why = f"{len(scored.realised)} sweeps scored; needed: {SCORED_MIN}"
            unmeasured.append(Unmeasured(what, why))
        else:
            checks.append(_check(scored, interval, _bar(study, scored)))
    tables = [
        Table(
            f"Cost of real sweeps, {market.name}: errors in bps of the mid at the decision",
            (
                "latency ms",
                "n",
                "RMSE L2",
                "RMSE L3",
                "ratio",
                "95 % low",
                "95 % high",
                "bias L2",
                "bias L3",
                "RMSE hidden orders only",
                "mean cost",
            ),
            tuple(rows),
        )
    ]
    figures = [_latency_figure(study, rows)]
    if study.scored and len(study.scored[0].realised) >= SCORED_MIN:
        tables.append(_gap_table(study.scored[0]))
        figures += [_error_figure(study.scored[0]), _calibration_figure(study.scored[0])]
    return Evidence(
        "sweeps",
        "Slippage of real sweeps",
        _text(study, market),
        tuple(checks),
        tuple(tables),
        tuple(figures),
        tuple(unmeasured),
    )


def _text(study: Study, market: Market) -> str:
    scored = study.scored[0] if study.scored else None
    said = (
        "A sweep is all that traded at one time for one aggressor side, hidden executions "
        "included. Its order is taken to have been decided `latency` before it traded; its "
        "realised cost is its mean price against the mid at the decision, above 0 for a loss. L2 "
        "walks the depth displayed at the decision. L3 adds hidden orders "
        "(`lob.hidden.HiddenLiquidityModel`) and what usually becomes of the price until arrival "
        "(`lob.hidden.ArrivalCosts`), and goes by whichever account has erred least so far. Both "
        "know side, size and the feed up to the decision; the models learn from past sweeps only, "
        f"the first {study.warm_up} of which are not scored. Bias is forecast less realised. "
        f"{market.name}: {study.sweeps} sweeps, {study.hidden_sweeps} with hidden executions "
        f"({study.hidden_lots_share:.1%} of the lots); {study.left_out} met a crossed or one-sided "
        "book and are left out."
    )
    if study.there > study.sweeps:
        said += f" They are {study.sweeps} in a row of {study.there}, from a place that was drawn."
    if scored is None or len(scored.realised) < SCORED_MIN:
        said += f" Too few to decide anything (needed: {SCORED_MIN} scored): no check is made."
    elif not study.hidden_sweeps:
        said += " This feed names no hidden execution: L3 has only to be no worse."
    elif _bar(study, scored) > RATIO_BAR:
        said += " Hardly any sweep met a hidden order: L3 has only to be no worse."
    return said


def _row(scored: Scored, interval: tuple[float, float]) -> tuple[float, ...]:
    errors = [costs - scored.realised for costs in (scored.l2, scored.l3, scored.costs[:, 1])]
    l2, l3, hidden = (rmse(of) for of in errors)
    count = len(scored.realised)
    bias = [float(of.mean()) if count else 0.0 for of in errors]
    mean = float(scored.realised.mean()) if count else 0.0
    ratio = ratio_of(l3, l2)
    latency_ms = scored.latency_ns / _NS_PER_MS
    return latency_ms, count, l2, l3, ratio, *interval, bias[0], bias[1], hidden, mean


def _what(scored: Scored) -> str:
    return f"sweep cost, RMSE L3 / L2 at {scored.latency_ns / _NS_PER_MS:g} ms"


def _bar(study: Study, scored: Scored) -> float:
    """Return what the ratio may be: well below 1 where hidden orders are there to be met."""
    there = study.hidden_sweeps >= HIDDEN_MIN * study.sweeps
    return RATIO_BAR if scored.latency_ns == 0 and there else 1.0


def _check(scored: Scored, interval: tuple[float, float], bar: float) -> Check:
    l2, l3 = (rmse(costs - scored.realised) for costs in (scored.l2, scored.l3))
    ratio = ratio_of(l3, l2)
    return Check(
        _what(scored),
        f"{ratio:.3f} [{interval[0]:.3f}, {interval[1]:.3f}] ({l2:.3f} -> {l3:.3f} bps)",
        f"<= {bar:.2f}",
        ratio <= bar,
    )


def _gap_table(scored: Scored) -> Table:
    """Tell apart sweeps that follow one another at once: what helps must not be only that."""
    gaps = np.where(scored.gap_ns < 0, np.iinfo(np.int64).max, scored.gap_ns)
    classes = np.searchsorted(_GAPS_NS, gaps, side="right")
    rows = []
    for place, name in enumerate(_GAP_NAMES):
        inside = classes == place
        l2, l3 = (rmse((of - scored.realised)[inside]) for of in (scored.l2, scored.l3))
        hidden = float(scored.was_hidden[inside].mean()) if inside.any() else 0.0
        rows.append((name, int(inside.sum()), hidden, l2, l3, ratio_of(l3, l2)))
    columns = ("last sweep of the side", "n", "share hidden", "RMSE L2", "RMSE L3", "ratio")
    return Table("No latency, by the time since the last sweep of the same side", columns, (*rows,))


def _latency_figure(study: Study, rows: list[tuple[float, ...]]) -> Figure:
    names = tuple(f"{ns / _NS_PER_MS:g}" for ns in (one.latency_ns for one in study.scored))
    x = tuple(float(place) for place in range(len(names)))
    return Figure(
        f"RMSE of the forecast cost at latencies of {', '.join(names)} ms",
        "latency (place in the list)",
        "RMSE, bps",
        tuple(
            Series(name, x, tuple(row[at] for row in rows))
            for name, at in (("L2 walk", 2), ("L3", 3), ("L3, hidden orders only", 9))
        ),
        "bars",
    )


def _error_figure(scored: Scored) -> Figure:
    """Return the mean error by size of the L2 walk's cost, in ten classes of equal count."""
    order = np.argsort(scored.l2, kind="stable")
    parts = np.array_split(order, 10)
    x = tuple(float(scored.l2[part].mean()) for part in parts)
    series = tuple(
        Series(name, x, tuple(float(of[part].mean()) for part in parts))
        for name, of in (("realised", scored.realised), ("L2 walk", scored.l2), ("L3", scored.l3))
    )
    title = "Mean cost by the cost that the L2 walk says, no latency"
    return Figure(title, "cost by the L2 walk, bps", "mean cost, bps", series, "points")


def _calibration_figure(scored: Scored) -> Figure:
    """Return how often sweeps met hidden orders, by the chance that was forecast."""
    bins = np.minimum((scored.chance * _CHANCE_BINS).astype(np.int64), _CHANCE_BINS - 1)
    there = [place for place in range(_CHANCE_BINS) if (bins == place).any()]
    forecast = tuple(float(scored.chance[bins == place].mean()) for place in there)
    share = tuple(float(scored.was_hidden[bins == place].mean()) for place in there)
    return Figure(
        "Chance of meeting a hidden order: forecast and observed, no latency",
        "forecast",
        "observed share",
        (
            Series("observed", forecast, share),
            Series("exact", (0.0, 1.0), (0.0, 1.0)),
        ),
        "points",
    )
