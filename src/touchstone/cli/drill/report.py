"""What the drill found, as JSON and for a terminal."""

import math
import platform
from collections.abc import Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from touchstone.cli.drill.trials import CLOSED_MS_MAX, MEANING, Kind, Trial

# Edges in milliseconds; each is a place where a promise or an expectation lies.
EDGES_MS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 600, 1000)
_BAR_CELLS: Final = 40


def quantile(values: Sequence[float], share: float) -> float | None:
    """Return the smallest value that at least `share` of the values do not exceed.

    >>> quantile([4.0, 1.0, 3.0, 2.0], 0.5), quantile([], 0.5)
    (2.0, None)
    """
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def histogram(values: Sequence[float]) -> list[tuple[str, int]]:
    """Return how many values lie in each interval of `EDGES_MS`, without empty ends.

    >>> histogram([0.5, 1.5, 7.0])
    [('<= 1 ms', 1), ('<= 2 ms', 1), ('<= 5 ms', 0), ('<= 10 ms', 1)]
    """
    rows = []
    lower = float("-inf")
    for edge in (*EDGES_MS, float("inf")):
        label = f"<= {edge} ms" if math.isfinite(edge) else f" > {EDGES_MS[-1]} ms"
        rows.append((label, sum(lower < value <= edge for value in values)))
        lower = edge
    used = [place for place, (_, count) in enumerate(rows) if count]
    return rows[used[0] : used[-1] + 1] if used else []


def summarise(
    trials: Sequence[Trial], *, processes: int, seed: int, seconds: float, last_order_ms_max: float
) -> dict[str, Any]:
    """Return the whole report: every trial, each kind, the promises and whether they held."""
    healthy = [trial for trial in trials if trial.kind is Kind.HEALTHY]
    last = [trial.last_order_ms for trial in healthy if trial.last_order_ms is not None]
    p99 = quantile(last, 0.99)
    slow = p99 is not None and p99 > last_order_ms_max
    problems = [
        f"trial {trial.number} ({trial.kind}): {problem}"
        for trial in trials
        for problem in trial.problems
    ]
    if slow:
        problems.append(
            f"last order p99 {p99:.1f} ms after the call, allowed {last_order_ms_max}"
            f"{_written_text(healthy)}"
        )
    closings = [trial.closed_ms for trial in trials if trial.closed_ms is not None]
    return {
        "ok": not problems,
        "problems": problems,
        "processes": processes,
        "seed": seed,
        "seconds": round(seconds, 1),
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "orders": sum(trial.orders for trial in trials),
        "orders_after_ack": sum(trial.orders_after_ack for trial in trials),
        "handed_over_after_ack": sum(trial.handed_over_after_ack for trial in trials),
        "orders_after_restart": sum(trial.orders_after_restart for trial in trials),
        "written_ms": _figures([t.written_ms for t in healthy if t.written_ms is not None]),
        "last_order_ms": _figures(last) | {"limit_p99": last_order_ms_max},
        "ack_ms": _figures([t.ack_ms for t in healthy if t.ack_ms is not None]),
        "closed_ms": _figures(closings) | {"limit": CLOSED_MS_MAX},
        "kinds": {kind.value: _of_kind(trials, kind) for kind in Kind if _has(trials, kind)},
        "trials": [trial.to_json() for trial in trials],
    }


def show(report: dict[str, Any], trials: Sequence[Trial], out: Console) -> None:
    """Print the report: a table of the kinds, two histograms, the verdict."""
    table = Table(title=f"{report['processes']} processes, {report['orders']:,} orders")
    table.add_column("trial", no_wrap=True)
    for column in ("n", "last order", "acked", "lapsed", "closed", "after ack", "restart", "ok"):
        table.add_column(column, justify="right")
    for name, kind in report["kinds"].items():
        table.add_row(
            name,
            str(kind["trials"]),
            _figure(kind["last_order_ms_max"]),
            _figure(kind["ack_ms_max"]),
            str(kind["lapsed"]),
            _figure(kind["closed_ms_max"]),
            str(kind["orders_after_ack"]),
            str(kind["orders_after_restart"]),
            "yes" if kind["ok"] else "NO",
        )
    out.print(table)
    out.print("worst of each kind, in ms; last order, acked: from the call; closed: from the fault")
    healthy = [trial for trial in trials if trial.kind is Kind.HEALTHY]
    _bars(out, "written to Redis' disk after the call", [t.written_ms for t in healthy])
    _bars(out, "last order begun after the call", [t.last_order_ms for t in healthy])
    _bars(out, "acknowledged after the call", [t.ack_ms for t in healthy])
    _bars(out, "closed after the fault", [trial.closed_ms for trial in trials])
    for problem in report["problems"]:
        out.print(f"FAILED  {problem}", markup=False, soft_wrap=True)
    verdict = "passed" if report["ok"] else "FAILED"
    out.print(
        f"{verdict}: {len(trials)} trials in {report['seconds']} s; orders begun after an "
        f"acknowledged kill: {report['orders_after_ack']}; begun by restarted processes: "
        f"{report['orders_after_restart']}",
        soft_wrap=True,
    )


def _of_kind(trials: Sequence[Trial], kind: Kind) -> dict[str, Any]:
    mine = [trial for trial in trials if trial.kind is kind]

    def worst(name: str) -> float | None:
        values = [value for trial in mine if (value := getattr(trial, name)) is not None]
        return round(max(values), 3) if values else None

    return {
        "meaning": MEANING[kind],
        "trials": len(mine),
        "last_order_ms_max": worst("last_order_ms"),
        "ack_ms_max": worst("ack_ms"),
        "closed_ms_max": worst("closed_ms"),
        "lapsed": sum(trial.lapsed for trial in mine),
        "orders_after_ack": sum(trial.orders_after_ack for trial in mine),
        "orders_after_restart": sum(trial.orders_after_restart for trial in mine),
        "ok": not any(trial.problems for trial in mine),
    }


def _written_text(trials: Sequence[Trial]) -> str:
    """Return how much of the slowest trial went by before Redis had the kill on its disk."""
    timed = [t for t in trials if t.last_order_ms is not None and t.written_ms is not None]
    if not timed:
        return ""
    slowest = max(timed, key=lambda trial: trial.last_order_ms or 0.0)
    return f" (in the slowest, Redis had written the kill after {slowest.written_ms:.1f} ms)"


def _has(trials: Sequence[Trial], kind: Kind) -> bool:
    return any(trial.kind is kind for trial in trials)


def _figures(values: Sequence[float]) -> dict[str, Any]:
    shares = {"median": 0.5, "p99": 0.99, "max": 1.0}
    figures: dict[str, Any] = {"n": len(values)}
    for name, share in shares.items():
        value = quantile(values, share)
        figures[name] = None if value is None else round(value, 3)
    return figures | {"histogram": dict(histogram(values))}


def _bars(out: Console, title: str, found: Sequence[float | None]) -> None:
    values = [value for value in found if value is not None]
    if not values:
        return
    rows = histogram(values)
    out.print(f"\n{title} (n = {len(values)}, median {_ms(quantile(values, 0.5))})")
    most = max(count for _, count in rows)
    for label, count in rows:
        bar = "█" * max(1 if count else 0, round(_BAR_CELLS * count / most))
        out.print(f"  {label:>10}  {bar} {count}", markup=False)


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} ms"
