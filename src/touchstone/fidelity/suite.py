"""Run the parts of the evidence one after the other; a part that fails never hides the others."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Literal

from lob.errors import Fault, InvalidInput
from touchstone.fidelity.evidence import Evidence
from touchstone.fidelity.market import Market, load_market, survey_markets
from touchstone.fidelity.reference import FILE, read_cases

Progress = Callable[[str], None]

_LISTED: Final = 20
"""Files passed over that a refusal names."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part: its name, the module whose `measure` it is, and what that is given.

    `market` is measured on each market by itself, `markets` on all of them together, with the
    `folder` where it has figures to reach.
    """

    name: str
    module: str
    title: str
    given: Literal["folder", "nothing", "market", "markets", "markets and folder"]


PARTS: Final = (
    Part("reference", "reference", "Closed forms and published tables", "folder"),
    Part("engine", "reference_engine", "The book as the Monte Carlo of a model", "nothing"),
    Part("exactness", "shadow_orders", "Exact queues on market-by-order data", "markets"),
    Part("queues", "queue_scores", "Queue estimators on level data", "markets"),
    Part("forecast", "forecast", "Fill forecasts at arrival", "market"),
    Part("sweeps", "sweeps", "Slippage of real sweeps", "market"),
    Part("realism", "realism", "Realism of synthetic flow", "markets and folder"),
    Part("icebergs", "sweeps_icebergs", "Iceberg detection", "markets"),
)
"""The parts in the order in which they are measured and shown."""


@dataclass(frozen=True, slots=True)
class Result:
    """What one part said of one market (or of none), or why it could not."""

    part: str
    title: str
    market: str | None
    seconds: float
    evidence: Evidence | None
    error: str = ""

    @property
    def holds(self) -> bool:
        """Return whether it was measured, has checks, and all of them hold."""
        return self.evidence is not None and bool(self.evidence.checks) and self.evidence.holds

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it: the evidence's own members, or the error."""
        return {
            "part": self.part,
            "market": self.market,
            "seconds": round(self.seconds, 1),
            "holds": self.holds,
            "error": self.error or None,
            "evidence": None if self.evidence is None else self.evidence.to_json(),
        }


@dataclass(frozen=True, slots=True)
class Report:
    """All results, the markets they are of, and the files that were passed over."""

    results: tuple[Result, ...]
    markets: tuple[str, ...]
    passed_over: tuple[tuple[str, str], ...]
    with_data: bool
    only: tuple[str, ...] = ()
    seed: int = 0

    @property
    def holds(self) -> bool:
        """Return whether every part that was asked for holds."""
        return bool(self.results) and all(result.holds for result in self.results)

    def to_json(self) -> dict[str, Any]:
        """Return the report as one object."""
        checks = [one for r in self.results if r.evidence for one in r.evidence.checks]
        return {
            "holds": self.holds,
            "checks": len(checks),
            "checks_failed": sum(not one.holds for one in checks),
            "unmeasured": sum(len(r.evidence.unmeasured) for r in self.results if r.evidence),
            "parts_failed": [_named(r) for r in self.results if not r.holds],
            "seed": self.seed,
            "only": list(self.only),
            "markets": list(self.markets),
            "passed_over": [{"file": name, "why": why} for name, why in self.passed_over],
            "parts": [result.to_json() for result in self.results],
        }


def chosen_parts(only: Sequence[str]) -> tuple[Part, ...]:
    """Return the parts named, all where none is.

    Raises:
        InvalidInput: a name is none of a part's.
    """
    known = {part.name for part in PARTS}
    for name in only:
        if name not in known:
            raise InvalidInput(f"only: {name!r}; allowed: {', '.join(sorted(known))}")
    return tuple(part for part in PARTS if not only or part.name in only)


def run(
    data_dir: Path | None,
    *,
    progress: Progress,
    only: Sequence[str] = (),
    seed: int = 0,
    clock: Callable[[], float] = time.perf_counter,
) -> Report:
    """Measure the parts on every market of a folder; without one, those that need no market.

    Raises:
        InvalidInput: no such folder, nothing in it that could be measured, a file of reference
            cases that cannot be read, or a part's name that is not known.
    """
    parts = chosen_parts(only)
    found, passed_over = _found(data_dir, parts, progress)
    markets, unread = _loaded(found, progress)
    results = []
    for part in parts:
        measure = import_measure(part)
        given: list[tuple[str | None, tuple[object, ...]]] = []
        if part.given == "market":
            given = [(market.name, (market,)) for market in markets]
        elif part.given == "markets":
            given = [(None, (markets,))] if markets else []
        elif part.given == "markets and folder":
            given = [(None, (markets, data_dir))] if markets else []
        else:
            given = [(None, (data_dir,) if part.given == "folder" else ())]
        if part.given.startswith("market"):
            results += [Result(part.name, part.title, name, 0.0, None, why) for name, why in unread]
            if data_dir is not None and not found:
                why = "the folder has no market that can be measured"
                results.append(Result(part.name, part.title, None, 0.0, None, why))
        for name, arguments in given:
            progress(f"{part.name}: {name}" if name else part.name)
            run_it = partial(measure, *arguments, progress=progress, seed=seed)
            results.append(_measured(part, name, run_it, clock))
    names = tuple(market.name for market in markets)
    return Report(tuple(results), names, passed_over, data_dir is not None, tuple(only), seed)


def import_measure(part: Part) -> Callable[..., Evidence]:
    """Return a part's function: by name, so that one part's imports are nobody else's."""

    # What cannot be imported fails when it is called, among the other parts' results.
    def measure(*given: object, progress: Progress, seed: int) -> Evidence:
        found = import_module(f"touchstone.fidelity.{part.module}").measure
        evidence: Evidence = found(*given, progress=progress, seed=seed)
        return evidence

    return measure


def _loaded(
    found: Sequence[Path], progress: Progress
) -> tuple[list[Market], list[tuple[str, str]]]:
    """Return the markets, and by name why others could not be read after all."""
    markets, unread = [], []
    for path in found:
        try:
            markets.append(load_market(path, progress=progress))
        except Fault as fault:
            unread.append((path.name, str(fault)))
    return markets, unread


def _found(
    data_dir: Path | None, parts: Sequence[Part], progress: Progress
) -> tuple[tuple[Path, ...], tuple[tuple[str, str], ...]]:
    if data_dir is None:
        return (), ()
    if not data_dir.is_dir():
        raise InvalidInput(f"data: {data_dir}; allowed: a folder")
    cases = read_cases(data_dir)
    if not any(part.given.startswith("market") for part in parts):
        return (), ()
    survey = survey_markets(data_dir, progress=progress)
    if not survey.found and not cases:
        said = "; ".join(f"{path.name}: {why}" for path, why in survey.passed_over[:_LISTED])
        raise InvalidInput(
            f"data: {data_dir} has neither a market that can be measured nor {FILE}; "
            f"{len(survey.passed_over)} files were passed over{': ' if said else ''}{said}"
        )
    over = tuple((path.relative_to(data_dir).as_posix(), why) for path, why in survey.passed_over)
    return survey.found, tuple(one for one in over if one[0] != FILE)


def _measured(
    part: Part, market: str | None, measure: Callable[[], Evidence], clock: Callable[[], float]
) -> Result:
    started = clock()
    try:
        evidence = measure()
    except Exception as error:  # noqa: BLE001 - whatever one part does, the others are shown
        why = str(error) if isinstance(error, Fault) else f"{type(error).__name__}: {error}"
        return Result(part.name, part.title, market, clock() - started, None, why)
    return Result(part.name, part.title, market, clock() - started, evidence)


def _named(result: Result) -> str:
    return f"{result.part} ({result.market})" if result.market else result.part
