"""Realism of synthetic flow: the calibrated generator's figures beside the market's own.

The generator is calibrated on a market; an hour of its flow, of a seed that the calibration never
saw, goes through the same measures as the market. That is a judgement in sample: the figures were
looked at while it was fitted. A second calibration on the first half of the market is compared with
the second half, beside what the first half itself says of the second.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from lob.bounds import Floats
from lob.calibration.flow_fit import fit_flow
from lob.calibration.measures import aggressors, autocorrelation, flatten, mids
from lob.calibration.measures import measure as measured
from lob.calibration.moments import (
    DEFAULT_EVALUATIONS,
    SKIPPED_SECONDS,
    draw_flow,
    fit_moments,
    middle_ticks,
)
from lob.calibration.rates_fit import fit_rates
from lob.calibration.tape import Tape, make_tape
from lob.clustered_profile import ClusteredProfile
from lob.errors import InvalidInput
from lob.flow import FlowProfile, ZeroIntelligence
from lob.recording import record
from touchstone.fidelity.evidence import (
    Check,
    Evidence,
    Figure,
    Series,
    Table,
    Unmeasured,
)
from touchstone.fidelity.market import Market

FILE: Final = "fidelity_targets.json"
MET_WITHIN: Final = 0.25
TARGETS_WITHIN: Final = 0.01
"""How far our own measures of the market may be from the targets for the two to be of one thing."""

EVALUATIONS: Final = DEFAULT_EVALUATIONS
HALF_EVALUATIONS: Final = 12
_HALF_SPAN: Final = 1_800.0
_SEED_OF_FLOW: Final = 1_000
_LAGS: Final = (1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50)
_QUANTILES: Final = 200
_FLOW_SECONDS: Final = 3_600.0
_MOST_COMMANDS: Final = 5_000_000

Progress = Callable[[str], None]

LOOSE: Final[Mapping[str, float]] = {
    "book_shape_mean_qty_by_tick_from_best": 0.15,
    "ofi_10s.avg_best_depth": 0.05,
    "ofi_10s.inv_2D": 0.05,
    "mid_return.1.acf1": 0.05,
}
"""Targets that differ by how they were taken: shapes and depth by the sampling of the book (ours is
weighted by time), an autocorrelation of a third of a percent by its estimator."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One figure of the market and of the flow."""

    name: str
    wanted: float
    found: float
    error: float
    """The standard error of the market's own figure where it is known, else NaN."""

    @property
    def ratio(self) -> float:
        """Return found over wanted; NaN where that says nothing."""
        return self.found / self.wanted if self.wanted else math.nan

    @property
    def met(self) -> bool:
        """Return whether it is within 25 %."""
        return abs(self.ratio - 1) <= MET_WITHIN

    @property
    def within_noise(self) -> bool:
        """Return whether the difference is below two standard errors of the market's figure."""
        return abs(self.found - self.wanted) <= 2 * self.error


def measure(
    markets: list[Market], folder: Path | None = None, *, progress: Progress, seed: int = 0
) -> Evidence:
    """Calibrate the generator on each market and compare; targets are read from `folder`.

    Raises:
        InvalidInput: no market, or none that a generator can be fitted to.
    """
    targets = read_targets(folder)
    checks: list[Check] = []
    tables: list[Table] = []
    figures: list[Figure] = []
    unmeasured: list[Unmeasured] = []
    for market in markets:
        name = market.instrument.symbol
        try:
            one = _study(market, targets.get(name), progress, seed)
        except InvalidInput as error:
            unmeasured.append(Unmeasured(f"{name}: generator", str(error)))
            continue
        checks += one.checks
        tables += one.tables
        figures += one.figures
    if not checks:
        raise InvalidInput("markets: none that a generator can be fitted to")
    return Evidence(
        "realism",
        "Realism of synthetic flow",
        _TEXT,
        tuple(checks),
        tuple(tables),
        tuple(figures),
        tuple(unmeasured),
    )


def read_targets(folder: Path | None) -> dict[str, dict[str, Any]]:
    """Return the target figures by symbol; none where there is no such file.

    Raises:
        InvalidInput: the file is there and is no mapping of symbols.
    """
    if folder is None or not (folder / FILE).is_file():
        return {}
    try:
        found = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{FILE}: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(one, dict) for one in found.values()):
        raise InvalidInput(f"{FILE}: {type(found).__name__}; allowed: a mapping of symbols")
    return found


@dataclass(frozen=True, slots=True)
class _Study:
    checks: list[Check]
    tables: list[Table]
    figures: list[Figure]


def _study(market: Market, targets: dict[str, Any] | None, progress: Progress, seed: int) -> _Study:
    name = market.instrument.symbol
    tape = make_tape(market.messages, market.instrument, market.hidden)
    own = flatten(measured(tape))
    wanted = own if targets is None else flatten(targets)
    checks, tables = [], []
    if targets is not None:
        check, table = _reproduced(name, wanted, own)
        checks.append(check)
        tables.append(table)
    progress(f"{name}: calibrating the generator")
    fitted = fit_moments(tape, fit_flow(tape), seed=seed, evaluations=EVALUATIONS)
    progress(f"{name}: an hour of its flow")
    flow = _flow(fitted.profile, tape, _FLOW_SECONDS, seed + _SEED_OF_FLOW)
    compared = compare(wanted, flatten(measured(flow)), tape)
    met = sum(one.met for one in compared)
    closely = sum(one.met or one.within_noise for one in compared)
    plain = compare(wanted, flatten(measured(_plain_flow(tape, seed + _SEED_OF_FLOW))), tape)
    reached = sum(one.met for one in plain)
    checks.append(
        Check(
            f"{name}: figures within 25 % (of {len(compared)}; {closely} with those within the "
            "noise of the market's own)",
            met,
            f"half, and more than the {reached} of zero-intelligence flow with the same rates",
            met >= len(compared) / 2 and met > reached,
        )
    )
    tables.append(_by_group(f"{name}: figures within 25 %, by group", compared, plain))
    tables.append(_comparison(f"{name}: generator against targets (same hour)", compared))
    half, share, kept = _halves(market, progress, seed)
    tables.append(half)
    checks.append(
        Check(
            f"{name}: fitted on the first half, figures of the second within 25 %, as a share of "
            "those that the first half's own are",
            share,
            f">= 0.5 (the first half itself: {kept})",
            share >= 0.5,  # noqa: PLR2004 - as said
        )
    )
    return _Study(checks, tables, _figures(name, tape, flow))


def _plain_flow(tape: Tape, seed: int) -> Tape:
    """Return flow of Poisson arrivals with the market's rates: what clustering has to beat."""
    rates = fit_rates(tape)
    profile = FlowProfile(
        limits_per_second=rates.limits.per_second,
        cancels_per_second=rates.cancels.per_second,
        markets_per_second=rates.markets.per_second,
        resting_orders=rates.resting_orders,
        distance_ticks=rates.distance_ticks,
        order_lots=rates.order_lots,
        round_lots=rates.round_lots,
        round_share=rates.round_share,
    )
    flow = ZeroIntelligence(tape.instrument, seed, middle_ticks(tape), profile=profile)
    until_ns = round((_FLOW_SECONDS + SKIPPED_SECONDS) * 1e9)
    drawn = record(flow, _MOST_COMMANDS, until_ns=until_ns)
    return make_tape(drawn.feed, tape.instrument, skip_seconds=SKIPPED_SECONDS)


def _flow(profile: ClusteredProfile, tape: Tape, seconds: float, seed: int) -> Tape:
    drawn = draw_flow(
        profile,
        tape.instrument,
        seconds=seconds + SKIPPED_SECONDS,
        mid_ticks=middle_ticks(tape),
        seed=seed,
    )
    return make_tape(drawn.feed, tape.instrument, drawn.hidden, skip_seconds=SKIPPED_SECONDS)


def compare(wanted: Mapping[str, float], found: Mapping[str, float], tape: Tape) -> list[Compared]:
    """Return every figure wanted beside the one found."""
    errors = standard_errors(tape)
    return [
        Compared(name, value, found.get(name, math.nan), errors.get(name, math.nan))
        for name, value in wanted.items()
    ]


def standard_errors(tape: Tape) -> dict[str, float]:
    """Return the standard errors of figures that have a simple one: autocorrelations, kurtosis.

    1/sqrt(n), and sqrt(24/n), of independent draws: of heavy tails they are too small.
    """
    trades = len(aggressors(tape).sign)
    found = {f"trade_sign_acf.{lag}": 1 / math.sqrt(trades) for lag in (1, 2, 5, 10, 20, 50)}
    for horizon in (0.1, 1.0, 10.0, 60.0):
        count = max(tape.duration / horizon, 1.0)
        for name in ("acf1", "acf1_abs"):
            found[f"mid_return.{horizon:g}.{name}"] = 1 / math.sqrt(count)
        found[f"mid_return.{horizon:g}.ex_kurt"] = math.sqrt(24 / count)
    return found


def _reproduced(
    name: str, wanted: Mapping[str, float], own: Mapping[str, float]
) -> tuple[Check, Table]:
    rows, off = [], 0
    for figure, value in wanted.items():
        ours = own.get(figure, math.nan)
        bar = next(
            (loose for prefix, loose in LOOSE.items() if figure.startswith(prefix)), TARGETS_WITHIN
        )
        apart = abs(ours / value - 1) if value else abs(ours)
        same = apart <= bar
        off += not same
        if apart > TARGETS_WITHIN:
            rows.append((figure, value, ours, apart, "yes" if same else "no"))
    title = f"{name}: targets that our measures of the same file differ from by more than 1 %"
    columns = ("figure", "target", "ours", "apart", "within its bar")
    check = Check(
        f"{name}: our measures of the file are the targets, figures that are not",
        off,
        "0 (1 %; shapes 15 %, depth and autocorrelation of 1 s returns 5 %)",
        off == 0,
    )
    return check, Table(title, columns, tuple(rows))


def _by_group(title: str, compared: list[Compared], plain: list[Compared]) -> Table:
    """Return how many figures of each group (by first name) either flow meets."""
    groups: dict[str, list[tuple[Compared, Compared]]] = {}
    for both in zip(compared, plain, strict=True):
        groups.setdefault(both[0].name.split(".")[0], []).append(both)
    rows = tuple(
        (group, sum(one.met for one, _ in both), sum(one.met for _, one in both), len(both))
        for group, both in groups.items()
    )
    return Table(title, ("group", "generator", "zero intelligence", "figures"), rows)


def _comparison(title: str, compared: list[Compared]) -> Table:
    return Table(
        title,
        ("figure", "target", "ours", "ratio", "within 25 %"),
        tuple(
            (
                one.name,
                one.wanted,
                one.found,
                one.ratio,
                "yes" if one.met else ("no, within noise" if one.within_noise else "no"),
            )
            for one in compared
        ),
    )


def _halves(market: Market, progress: Progress, seed: int) -> tuple[Table, float, int]:
    """Fit the first half and compare with the second; the first half itself is the yardstick."""
    name = market.instrument.symbol
    first, second = _half_tapes(market)
    progress(f"{name}: the same, fitted on the first half")
    fitted = fit_moments(
        first, fit_flow(first), seed=seed, evaluations=HALF_EVALUATIONS, seconds=_HALF_SPAN
    )
    flow = _flow(fitted.profile, first, second.duration, seed + _SEED_OF_FLOW)
    wanted = flatten(measured(second))
    ours = compare(wanted, flatten(measured(flow)), second)
    theirs = compare(wanted, flatten(measured(first)), second)
    met, kept = sum(one.met for one in ours), sum(one.met for one in theirs)
    rows = tuple(
        (
            mine.name,
            mine.wanted,
            mine.found,
            mine.ratio,
            their.ratio,
            "yes" if mine.met else "no",
            "yes" if their.met else "no",
        )
        for mine, their in zip(ours, theirs, strict=True)
    )
    columns = (
        *("figure", "second half", "generator", "ratio", "ratio of the first half"),
        *("within 25 %", "first half within 25 %"),
    )
    title = f"{name}: fitted on the first half, against the second"
    return Table(title, columns, rows), met / max(kept, 1), kept


def _half_tapes(market: Market) -> tuple[Tape, Tape]:
    """Return the tapes of both halves of the window; the second knows what rested before it."""
    times = market.messages["ts_event_ns"]
    middle_ns = (market.start_ns + market.end_ns) // 2
    cut = int(np.searchsorted(np.maximum.accumulate(times), middle_ns))
    hidden_cut = int(np.searchsorted(market.hidden["before_index"], cut))
    first = make_tape(market.messages[:cut], market.instrument, market.hidden[:hidden_cut])
    skipped = (middle_ns - market.start_ns) / 1e9 + SKIPPED_SECONDS
    second = make_tape(market.messages, market.instrument, market.hidden, skip_seconds=skipped)
    return first, second


def _figures(name: str, tape: Tape, flow: Tape) -> list[Figure]:
    pairs = (("market", tape), ("generator", flow))
    signs = [
        Series(
            which,
            tuple(map(float, _LAGS)),
            tuple(autocorrelation(aggressors(one).sign, lag) for lag in _LAGS),
        )
        for which, one in pairs
    ]
    waits = [_survival(which, np.diff(one.seconds), 1e-6) for which, one in pairs]
    moves = [_survival(which, _scaled_moves(one), 0.05) for which, one in pairs]
    lives = [_survival(which, one.age[np.isfinite(one.age)], 1e-5) for which, one in pairs]
    return [
        Figure(f"{name}: autocorrelation of trade signs", "lag, trades", "", tuple(signs)),
        _log_figure(f"{name}: times between events", "seconds", waits),
        _log_figure(f"{name}: moves of the mid in 1 s over their deviation", "|move|", moves),
        _log_figure(f"{name}: ages of orders that were cancelled or traded", "seconds", lives),
    ]


def _log_figure(title: str, label: str, series: list[Series]) -> Figure:
    return Figure(title, label, "share above", tuple(series), log_x=True, log_y=True)


def _survival(name: str, values: Floats, least: float) -> Series:
    """Return the share of values above each of their own quantiles."""
    levels = 1 - np.geomspace(1, 1 / max(len(values), 2), _QUANTILES)
    at = np.quantile(values, levels)
    kept = at >= least
    return Series(name, tuple(at[kept].tolist()), tuple((1 - levels[kept]).tolist()))


def _scaled_moves(tape: Tape) -> Floats:
    moves = np.diff(mids(tape, np.arange(int(tape.duration) + 1.0)))
    deviation = float(moves.std())
    return np.abs(moves) / deviation if deviation else np.abs(moves)


_TEXT: Final = (
    "Both the market and the generator's flow go through the same measures, from the messages a "
    "venue would publish. The generator (clustered arrivals on seven time scales, runs of signs, "
    "an efficient price that improving and withdrawn orders follow, lives by Kaplan and Meier) is "
    "calibrated as `touchstone calibrate` does it: by likelihood and frequencies, then a few knobs "
    "by simulated moments. The first comparison is in sample: the same hour was fitted, with other "
    "seeds than the flow shown. Not to be met by design are figures that the hour itself does not "
    "determine: an autocorrelation of returns that is 0 within its error, the kurtosis of sixty "
    "returns, and the book's shape tick by tick. What the generator gets wrong is in the table."
)
