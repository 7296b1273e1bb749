"""What the native book has promised, and how far what was measured keeps it."""

from typing import Any, Final, NamedTuple

RATE: Final = "messages_per_second"
HFT_FULL: Final = "hftbacktest exchange_and_local"
HFT_LOCAL: Final = "hftbacktest local_only"
NAUTILUS: Final = "nautilus_trader apply_deltas_prebuilt"
NAUTILUS_OBJECTS: Final = "nautilus_trader apply_deltas_with_objects"
ENGINE: Final = "nautilus_trader backtest_engine"

Document = dict[str, Any]


class Figure(NamedTuple):
    """Where a number stands in the document."""

    size: str
    contestant: str
    name: str = RATE

    def of(self, document: Document) -> float | None:
        """Return its median; None where it was not measured."""
        contestants = document["sizes"].get(self.size, {}).get("contestants", {})
        figures = contestants.get(self.contestant, {}).get("figures", {})
        return figures[self.name]["median"] if self.name in figures else None


class Bar(NamedTuple):
    """One promise: a figure, or the ratio of one to another, at least or at most a target."""

    name: str
    target: float
    figure: Figure
    over: Figure | None = None
    at_least: bool = True


FEED: Final = Figure("12k", "native feed")
LARGE_FEED: Final = Figure("220k", "native feed")
TWO_THREADS: Final = Figure("12k", "native two threads", "two_threads_over_one")
TWO_PROCESSES: Final = Figure("12k", "native two threads", "two_processes_over_one")
"""What the machine has for two threads, and for two that share nothing at all; no bars."""

BARS: Final = (
    Bar("feed replay over hftbacktest exchange and local", 20, FEED, Figure("12k", HFT_FULL)),
    Bar("feed replay over hftbacktest local only", 3, FEED, Figure("12k", HFT_LOCAL)),
    Bar("feed replay over nautilus apply_deltas prebuilt", 15, FEED, Figure("12k", NAUTILUS)),
    Bar("feed replay over nautilus BacktestEngine", 100, FEED, Figure("12k", ENGINE)),
    Bar(
        "220k live: over hftbacktest exchange and local", 200, LARGE_FEED, Figure("220k", HFT_FULL)
    ),
    Bar("220k live: over our own 12k rate", 0.7, LARGE_FEED, FEED),
    Bar("submit from Python, ns", 70, Figure("12k", "native calls", "submit_ns"), at_least=False),
    Bar("cancel from Python, ns", 55, Figure("12k", "native calls", "cancel_ns"), at_least=False),
    Bar("compiled tape over plain replay", 1.8, Figure("12k", "native tape", "tape_over_plain")),
    Bar(
        "two threads over one of two processes",
        1.85,
        Figure("12k", "native two threads", "two_threads_over_one_of_two"),
    ),
    Bar("Python book, feed messages/s", 1_200_000, Figure("12k", "python feed")),
)


def bars_of(document: Document) -> list[Document]:
    """Return each bar with what was measured (None: could not be) and whether it holds."""
    found = []
    for bar in BARS:
        measured = bar.figure.of(document)
        if bar.over is not None:
            measured = _ratio(measured, bar.over.of(document))
        found.append(_judged(bar.name, bar.target, measured, at_least=bar.at_least))
    matching = Figure("12k", "native matching").of(document)
    cost = document["footprint"]
    found += [
        _judged(
            "matching in bulk, ns a command",
            25,
            1e9 / matching if matching else None,
            at_least=False,
        ),
        _judged(
            "bytes of a resting order, 1M orders",
            64,
            cost.get("native", {}).get("resident_bytes"),
            at_least=False,
        ),
        _judged("import over numpy, ms", 5, cost.get("import_over_numpy_ms"), at_least=False),
    ]
    return found


def _judged(name: str, target: float, measured: float | None, *, at_least: bool) -> Document:
    ok = None
    if measured is not None:
        ok = measured >= target if at_least else measured <= target
    return {"name": name, "target": target, "at_least": at_least, "measured": measured, "ok": ok}


def _ratio(over: float | None, under: float | None) -> float | None:
    return over / under if over is not None and under else None


def ratios_of(document: Document) -> dict[str, dict[str, float]]:
    """Return, for each size, how many times each peer's rate our book of the same kind has.

    Feed replay is compared with feed replay; a peer that is called command by command with our own
    calls from Python.
    """
    ours = {"feed": "feed", "commands": "calls"}
    found: dict[str, dict[str, float]] = {}
    for size, measured in document["sizes"].items():
        for name, contestant in measured["contestants"].items():
            if contestant["book"] in {"native", "python"}:
                continue
            for kind in document["backends"]:
                mine = Figure(size, f"{kind} {ours[contestant['kind']]}").of(document)
                ratio = _ratio(mine, Figure(size, name).of(document))
                if ratio is not None:
                    found.setdefault(size, {})[f"{kind} over {name}"] = float(f"{ratio:.4g}")
    return found
