"""Evaluate reference cases (closed forms, published tables) through the public functions.

A case is an object with `id`, `inputs`, `expected`, `tolerance` and `source`. Its family decides
which functions answer it; a case of no known family is reported as not evaluated, never as passed.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from lob import OrderBook
from lob.dark import expected_fill, greedy_allocation
from lob.errors import Fault, InvalidInput
from lob.fill_probability import (
    erlang_fill_probability,
    hypoexponential_fill_probability,
    kaplan_meier,
)
from lob.hidden import TotalSizeCurve, refill_count, refill_tranches
from lob.impact import (
    almgren2005_cost,
    almgren_chriss_trajectory,
    gatheral_gamma_star,
    kyle_single,
    obizhaeva_wang_continuous,
)
from lob.queueing import (
    ContStoikovTalreja,
    cont_de_larrard_up_probability,
    mm1_first_passage_cdf,
)
from lob.types import OrderType, Refilled, Side
from touchstone.fidelity.reference_replays import (
    aapl_hour_values,
    one_step_values,
    rebuilt_rows_values,
)

Case = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Value:
    """One figure of a case: what is expected, what the project says, and how it was rounded.

    `rounding` is half a unit of the last digit that the case's file states, 0 where it states all.
    """

    name: str
    expected: float
    measured: float
    rounding: float = 0.0


@dataclass(frozen=True, slots=True)
class CaseResult:
    """A case, the figures it was compared by, and why it was not evaluated, if it was not."""

    id: str
    source: str
    tolerance: float
    values: tuple[Value, ...]
    not_evaluated: str = ""

    @property
    def worst(self) -> Value:
        """Return the figure that lies furthest off, against what it may."""
        return max(self.values, key=lambda value: _excess(value, self.tolerance))

    @property
    def holds(self) -> bool:
        """Return whether it was evaluated and every figure is within the tolerance.

        The tolerance is absolute and has the rounding of the stated figure on top.
        """
        if self.not_evaluated or not self.values:
            return False
        return all(_excess(value, self.tolerance) <= 1 for value in self.values)


def evaluate(case: Case, data_dir: Path | None = None) -> CaseResult:
    """Return what the project says to a case; files it names are looked for in `data_dir`."""
    name = str(case.get("id", "without a name"))
    source = str(case.get("source") or "")
    try:
        tolerance = float(case["tolerance"])
        family = next((run for start, run in FAMILIES.items() if name.startswith(start)), None)
        if family is None:
            return CaseResult(name, source, tolerance, (), "no function is known for its family")
        return CaseResult(name, source, tolerance, tuple(family(case, data_dir)))
    except Fault as fault:
        return CaseResult(name, source, 0.0, (), str(fault))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        return CaseResult(name, source, 0.0, (), f"the case is not of its family's form: {error!r}")


def _excess(value: Value, tolerance: float) -> float:
    allowed = tolerance + value.rounding
    off = abs(value.measured - value.expected)
    if allowed == 0:
        return 0.0 if off == 0 else float("inf")
    # What is written in decimal digits is not quite what a float holds.
    return off / (allowed * (1 + 1e-9) + 1e-15 * abs(value.expected))


Evaluate = Callable[[Case, Path | None], Iterator[Value]]
"""What evaluates the cases of one family: the case and the folder of data, if there is one."""


def _table(expected: Sequence[Sequence[float]], measured: Any, decimals: int) -> Iterator[Value]:
    """Yield each cell of a table whose rows are bids and columns asks, from 1 on."""
    for row, cells in enumerate(expected):
        for column, cell in enumerate(cells):
            name = f"b={row + 1}, a={column + 1}"
            yield Value(name, float(cell), float(measured[row][column]), 0.5 * 10.0**-decimals)


def _sizes(expected: Sequence[Sequence[float]]) -> tuple[Any, Any]:
    bids, asks = len(expected), len(expected[0])
    return np.arange(1, bids + 1)[:, None], np.arange(1, asks + 1)[None, :]


def _cst_model(given: Mapping[str, Any]) -> ContStoikovTalreja:
    if "lambda" in given:
        rates = tuple(given["lambda"]), tuple(given["theta"])
    else:
        rates = (given["lambda1"],), (given["theta1"],)
    return ContStoikovTalreja(lambda_=rates[0], theta=rates[1], mu=given["mu"])


def _cst_of(probability: Callable[..., Any]) -> Evaluate:
    """Return the evaluation of a table by one of the model's probabilities of both sizes."""

    def evaluate(case: Case, _: Path | None) -> Iterator[Value]:
        given, expected = case["inputs"], case["expected"]
        bids, asks = _sizes(expected)
        spread = given.get("spread", 1)
        found = probability(_cst_model(given), b=bids, a=asks, spread=spread)
        yield from _table(expected, found, 4)

    return evaluate


def _cst_bid_gone_first(case: Case, _: Path | None) -> Iterator[Value]:
    """Yield P(the bid is depleted before our ask, the last of the a, trades)."""
    given, expected = case["inputs"], case["expected"]
    bids, asks = _sizes(expected)
    found = 1 - _cst_model(given).ask_fill_probability(b=bids, a=asks)
    yield from _table(expected, found, 4)


def _cont_de_larrard(case: Case, _: Path | None) -> Iterator[Value]:
    expected = case["expected"]
    bids, asks = _sizes(expected)
    yield from _table(expected, cont_de_larrard_up_probability(bids, asks), 5)


def _mm1(case: Case, _: Path | None) -> Iterator[Value]:
    given = case["inputs"]
    found = mm1_first_passage_cdf(given["t"], x=given["x"], lam=given["lam"], delta=given["delta"])
    for t, wanted, got in zip(given["t"], case["expected"], found, strict=True):
        yield Value(f"t={t}", wanted, float(got), 5e-7)


def _erlang(case: Case, _: Path | None) -> Iterator[Value]:
    given = case["inputs"]
    for (n, t), wanted in zip(given["cases_n_t"], case["expected"], strict=True):
        got = erlang_fill_probability(t, mu=given["mu"], n_ahead=n)
        yield Value(f"n={n}, t={t}", wanted, float(got), 5e-7)


def _hypoexponential(case: Case, _: Path | None) -> Iterator[Value]:
    given = case["inputs"]
    rates = {"mu": given["mu"], "theta": given["theta"]}
    for (n, t), wanted in zip(given["cases_n_t"], case["expected"], strict=True):
        got = hypoexponential_fill_probability(t, n_ahead=n, **rates)
        yield Value(f"n={n}, t={t}", wanted, float(got), 5e-7)


def _almgren_chriss(case: Case, _: Path | None) -> Iterator[Value]:
    given = case["inputs"]
    terms = {name: given[name] for name in ("X", "T", "N", "sigma", "eta", "gamma", "epsilon")}
    for risk, wanted in case["expected"].items():
        plan = almgren_chriss_trajectory(**terms, lambda_u=float(risk))
        figures = (
            ("kappa", plan.kappa, 5e-7),
            ("E", plan.expected_cost, 0.05),
            ("V", plan.variance / 1e12, 5e-7),
            ("std", plan.standard_deviation, 0.05),
        )
        for name, got, rounding in figures:
            yield Value(f"{name} at lambda={risk}", wanted[name], got, rounding)
        for name, row in (("holdings", plan.holdings), ("trades", plan.trades)):
            for place, (one, got) in enumerate(zip(wanted[name], row, strict=True)):
                yield Value(f"{name}[{place}] at lambda={risk}", one, float(got), 0.05)


def _almgren_2005(case: Case, _: Path | None) -> Iterator[Value]:
    given = case["inputs"]
    laws = {name: given[name] for name in ("gamma", "eta", "beta", "delta")}
    for stock, by_days in case["expected"].items():
        sigma = given[stock]["daily_vol_bp"] / 1e4
        turnover = float(given[stock]["inv_turnover"])
        for days, wanted in by_days.items():
            cost = almgren2005_cost(0.1, 1.0, turnover, sigma, float(days), **laws)
            for name, part in zip(("perm_bp", "temp_bp", "realized_bp"), cost, strict=True):
                yield Value(f"{stock} {name} in {days} d", wanted[name], float(part) * 1e4)


def _obizhaeva_wang(case: Case, _: Path | None) -> Iterator[Value]:
    given = case["inputs"]
    book = (given["q"], given["lambda_perm"])
    names = ("x0", "xT", "rate", "transient_cost", "permanent_cost")
    for rho, wanted in case["expected"].items():
        plan = obizhaeva_wang_continuous(given["X0"], given["T"], float(rho), *book)
        for name, figure in zip(names, wanted.values(), strict=True):
            yield Value(f"{name} at rho={rho}", figure, getattr(plan, name), 0.05)


def _kyle(case: Case, _: Path | None) -> Iterator[Value]:
    found = kyle_single(case["inputs"]["Sigma0"], case["inputs"]["sigma_u2"])
    for name, wanted in case["expected"].items():
        yield Value(name, wanted, getattr(found, name), 5e-7)


def _gamma_star(case: Case, _: Path | None) -> Iterator[Value]:
    yield Value("gamma*", case["expected"], gatheral_gamma_star(), 5e-7)


def _kaplan_meier(case: Case, _: Path | None) -> Iterator[Value]:
    values, events = zip(*case["inputs"]["obs_value_event"], strict=True)
    curve, totals = kaplan_meier(values, events), TotalSizeCurve.fit(values, events)
    for t, wanted in case["expected"].items():
        yield Value(f"S({t})", wanted, float(curve.survival_at(float(t))))
        yield Value(f"P(total > {t})", wanted, float(totals.survival(float(t))))


def _dark_pool(case: Case, _: Path | None) -> Iterator[Value]:
    tails, volume = case["inputs"]["T"], case["inputs"]["V"]
    found, wanted = greedy_allocation(tails, volume), case["expected"]
    yield Value("expected fill", wanted["expected_fill"], found.expected_fill)
    stated = expected_fill(tails, wanted["allocation"])
    yield Value("expected fill of the stated split", wanted["expected_fill"], stated)


def _iceberg(case: Case, _: Path | None) -> Iterator[Value]:
    total, peak = case["inputs"]["total"], case["inputs"]["peak"]
    wanted = case["expected"]
    yield Value("refills", wanted["n_refills"], refill_count(total, peak))
    for place, (one, said, shown) in enumerate(
        zip(wanted["tranches"], refill_tranches(total, peak), shown_parts(total, peak), strict=True)
    ):
        yield Value(f"part {place + 1}, by the formula", one, said)
        yield Value(f"part {place + 1}, shown by the book", one, shown)


def shown_parts(total: int, peak: int) -> list[int]:
    """Return the lots that an iceberg shows in a real book, as market orders take part after part.

    `InvalidInput` where a refilled part does not go behind an order that had queued behind it.
    """
    book = OrderBook()
    book.submit(1, Side.SELL, total, 100, display_lots=peak if peak < total else 0)
    parts, order_id = [min(peak, total)], 1
    while True:
        order_id += 2
        # One lot that waits behind the part shown: a refill must come after it.
        book.submit(order_id, Side.SELL, 1, 100)
        events = book.submit(order_id + 1, Side.BUY, parts[-1], order_type=OrderType.MARKET)
        refills = [event for event in events if isinstance(event, Refilled)]
        if not refills:
            return parts
        if book.queue_position(1).lots_ahead != 1:
            raise InvalidInput("iceberg: a refill kept its place; allowed: the tail of its level")
        book.submit(order_id + 2, Side.BUY, 1, order_type=OrderType.MARKET)
        order_id += 1
        parts.append(refills[-1].displayed_lots)


def _walk(case: Case, _: Path | None) -> Iterator[Value]:
    given, wanted = case["inputs"], case["expected"]
    book = OrderBook()
    for order_id, (price, lots) in enumerate(given["asks"], 1):
        book.submit(order_id, Side.SELL, lots, round(price * 100))
    walk = book.walk(Side.BUY, given["q"])
    vwap = walk.cost_tick_lots / walk.quantity_lots / 100
    yield Value("vwap", wanted["vwap"], vwap)
    cost = (vwap / given["mid"] - 1) * 1e4
    yield Value("cost_bps", wanted["cost_bps"], cost)


def _rebuilt(case: Case, data_dir: Path | None) -> Iterator[Value]:
    for name, wanted, got in rebuilt_rows_values(case, data_dir):
        yield Value(name, wanted, got)


def _one_step(case: Case, data_dir: Path | None) -> Iterator[Value]:
    for name, wanted, got in one_step_values(case, data_dir):
        yield Value(name, wanted, got)


def _aapl_hour(case: Case, data_dir: Path | None) -> Iterator[Value]:
    for name, wanted, got in aapl_hour_values(case, data_dir):
        yield Value(name, wanted, got)


FAMILIES: Final[dict[str, Evaluate]] = {
    "cst2010_up": _cst_of(ContStoikovTalreja.mid_up_probability),
    "cst2010_bid_fill": _cst_of(ContStoikovTalreja.bid_fill_probability),
    "cst2010_bid_gone_first": _cst_bid_gone_first,
    "cst2010_making_the_spread": _cst_of(ContStoikovTalreja.making_the_spread_probability),
    "cont_delarrard2013": _cont_de_larrard,
    "mm1_queue_depletion": _mm1,
    "fifo_no_cancel_erlang": _erlang,
    "fifo_with_cancel_hypoexp": _hypoexponential,
    "almgren_chriss2000": _almgren_chriss,
    "almgren2005": _almgren_2005,
    "obizhaeva_wang_cont": _obizhaeva_wang,
    "kyle_single": _kyle,
    "gatheral_gamma_star": _gamma_star,
    "kaplan_meier": _kaplan_meier,
    "dark_pool_greedy": _dark_pool,
    "iceberg_refills": _iceberg,
    "walk_book": _walk,
    "real_lobster_msft": _rebuilt,
    "real_lobster_aapl_1step": _one_step,
    "real_lobster_aapl_1h": _aapl_hour,
}
"""How the id of a case begins, and what evaluates it."""
