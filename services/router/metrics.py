"""What the router counts. `symbol` is no label: every family here stays small."""

import functools
from collections.abc import Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from execution_providers import Fill, FillStatus
from lob import errors
from services.router.rollout_control import RolloutControl
from services.router.shadow_frames import GARBAGE
from touchstone.kit.errors import OUTCOMES
from touchstone.kit.received import bps_of, notional_of
from touchstone.kit.tallies import Count, Counts, Distribution, Distributions
from touchstone.rollout.assignment import Rule, assign
from touchstone.rollout.shadow import ShadowPair
from touchstone.rollout.state import LIVE_PHASES, Phase
from touchstone.rollout.triggers import LATENCY_EDGES_SECONDS, SLIPPAGE_EDGES_BPS

# live: the answer. fallback: L2 in place of an L3 that failed. shadow: off the path.
SERIES: Final = (("L2", "live"), ("L2", "fallback"), ("L3", "live"), ("L3", "shadow"))
OUTCOME_NAMES: Final = (*(status.lower() for status in FillStatus), "invalid", "error")
FAULT_CODES: Final = tuple(sorted({cls.code for cls in OUTCOMES}))
ENDINGS: Final = ("exit", "hung", "overspent", "garbage", "not_started")
DROP_REASONS: Final = ("queue_full", "not_in_shadow", "too_large", "rate", "processor")

# The first edge of the slippage is negative, so the library exports no sum, and the moments have
# families of their own.
SLIPPAGE_BUCKETS: Final = SLIPPAGE_EDGES_BPS
LATENCY_BUCKETS: Final = LATENCY_EDGES_SECONDS


class _Series:
    """What is counted of one provider in one mode, found once."""

    def __init__(
        self,
        orders: dict[str, Count],
        latency: Distribution,
        slippage: Distribution,
        signed: tuple[Count, Count],
        squares: Count,
        notional: Count,
    ) -> None:
        self.orders = orders
        self.by_status = {status: orders[status.value.lower()] for status in FillStatus}
        self.latency = latency
        self.slippage = slippage
        self.gains, self.costs = signed
        self.slippage_squares = squares
        self.notional = notional


class ExecutionMetrics:
    """Count executions by provider and mode; every child exists from the start, at zero."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ["provider", "mode"]
        orders = Counts("exec_orders", "Executions by outcome", [*labels, "outcome"], registry)
        slippage = Distributions(
            "exec_slippage_bps",
            "Signed slippage against the mid at the decision; positive is a cost",
            labels,
            registry,
            SLIPPAGE_BUCKETS,
        )
        squares = Counts(
            "exec_slippage_bps_square", "Sum of squared slippage, for the RMSE", labels, registry
        )
        signed = Counts(
            "exec_slippage_bps_signed",
            "Sum of slippage, costs and gains apart (both positive): their difference over the"
            " count is the mean",
            [*labels, "sign"],
            registry,
        )
        latency = Distributions(
            "exec_latency_seconds",
            "Time to compute an execution on this host (not the simulated market's latency)",
            labels,
            registry,
            LATENCY_BUCKETS,
        )
        notional = Counts(
            "exec_notional",
            "Filled value in quote currency: the realised share beside the configured one",
            labels,
            registry,
        )
        fallbacks = Counts(
            "exec_fallbacks", "L2 answers in place of a failed L3", ["code"], registry
        )
        rules = Counts("exec_decisions", "Decisions by the rule that made them", ["rule"], registry)
        self._series = {
            series: _Series(
                {name: orders.labels(*series, name) for name in OUTCOME_NAMES},
                latency.labels(*series),
                slippage.labels(*series),
                (signed.labels(*series, "gain"), signed.labels(*series, "cost")),
                squares.labels(*series),
                notional.labels(*series),
            )
            for series in SERIES
        }
        self._fallbacks = {code: fallbacks.labels(code) for code in FAULT_CODES}
        self._rules = {rule: rules.labels(rule.value) for rule in Rule}

    def on_fill(self, provider: str, mode: str, fill: Fill, seconds: float) -> None:
        """Count an execution that gave a fill."""
        self.on_fills(provider, mode, (fill,), seconds)

    def on_fills(self, provider: str, mode: str, fills: Sequence[Fill], seconds: float) -> None:
        """Count executions that gave fills together; `seconds` is what each took."""
        series = self._series[provider, mode]
        by_status, slippage = series.by_status, series.slippage
        notional = costs = gains = squares = 0.0
        for fill in fills:
            by_status[fill.status].value += 1
            notional += notional_of(fill) or 0.0
            bps = bps_of(fill)
            if bps is not None:
                slippage.observe(bps)
                if bps >= 0:
                    costs += bps
                else:
                    gains -= bps
                squares += bps * bps
        series.latency.observe_equal(seconds, len(fills))
        series.notional.value += notional
        series.costs.value += costs
        series.gains.value += gains
        series.slippage_squares.value += squares

    def on_fault(self, provider: str, mode: str, fault: errors.Fault, seconds: float) -> None:
        """Count an execution that failed: `invalid` when the request was wrong, else `error`."""
        name = "invalid" if isinstance(fault, errors.InvalidInput) else "error"
        series = self._series[provider, mode]
        series.orders[name].inc()
        series.latency.observe(seconds)

    def on_fallback(self, fault: errors.Fault) -> None:
        """Count an L2 answer in place of an L3 that failed."""
        self._fallbacks[known_code(fault)].inc()

    def on_rule(self, rule: Rule, count: int = 1) -> None:
        """Count decisions by their rule."""
        self._rules[rule].inc(count)


class ShadowMetrics:
    """Count what shadow comparison does; every child exists from the start, at zero."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.pairs = Counts("shadow_pairs", "Pairs compared", (), registry).labels()
        # Most answers are counted here, on their way.
        dropped = Counts("shadow_dropped", "Orders not mirrored, by reason", ["reason"], registry)
        failed = Counter(
            "shadow_errors", "Candidate failures, by code", ["code"], registry=registry
        )
        self.difference = Histogram(
            "shadow_slippage_difference_bps",
            "Candidate minus control slippage of a pair",
            buckets=SLIPPAGE_BUCKETS,
            registry=registry,
        )
        self.difference_square = Counter(
            "shadow_slippage_difference_bps_square",
            "Sum of squared differences, for the RMSE",
            registry=registry,
        )
        self.depth = Gauge(
            "shadow_queue_depth", "Orders waiting for their mirror", registry=registry
        )
        self.dropped = {reason: dropped.labels(reason) for reason in DROP_REASONS}
        self.errors = {code: failed.labels(code) for code in (*FAULT_CODES, GARBAGE)}


class PairMetrics:
    """Sums over pairs, of shadow and live orders alike, from which a correlation can be taken.

    All of them only grow, so that a rate over any window, and the sum over routers, is right:
    what is signed is counted by its sign, and the sum of products follows from
    2 xy = x^2 + y^2 - (y - x)^2.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        priced = Counts("pair_priced", "Pairs in which both sides filled something", (), registry)
        sums = Counts(
            "pair_slippage_bps",
            "Sum of slippage over such pairs, costs and gains apart (both positive)",
            ["provider", "sign"],
            registry,
        )
        squares = Counts(
            "pair_slippage_bps_square",
            "Sum of squared slippage over such pairs",
            ["provider"],
            registry,
        )
        differences = Counts(
            "pair_slippage_difference_bps_square",
            "Sum of squared differences, L3 minus L2, over such pairs",
            (),
            registry,
        )
        answered = Counts(
            "pair_answered", "Pairs in which the candidate gave an answer", (), registry
        )
        seconds = Counts(
            "pair_latency_seconds", "Time to compute answers of such pairs", ["provider"], registry
        )
        shares = Counts(
            "pair_filled_share",
            "Sum of the share of the order that was filled, over such pairs",
            ["provider"],
            registry,
        )
        self._priced, self._differences = priced.labels(), differences.labels()
        self._answered = answered.labels()
        self._sums = {
            provider: (sums.labels(provider, "gain"), sums.labels(provider, "cost"))
            for provider in ("L2", "L3")
        }
        self._squares = {provider: squares.labels(provider) for provider in self._sums}
        self._seconds = {provider: seconds.labels(provider) for provider in self._sums}
        self._shares = {provider: shares.labels(provider) for provider in self._sums}

    def observe(self, pair: ShadowPair) -> None:
        """Count one pair."""
        candidate = pair.candidate
        if candidate is None:
            return
        self._answered.inc()
        sides = (
            ("L2", pair.control, pair.control_seconds),
            ("L3", candidate, pair.candidate_seconds),
        )
        for provider, fill, seconds in sides:
            self._seconds[provider].inc(max(0.0, seconds))
            self._shares[provider].inc(float(fill.filled_quantity / pair.quantity))
        control_bps, candidate_bps = bps_of(pair.control), bps_of(candidate)
        if control_bps is None or candidate_bps is None:
            return
        self._priced.inc()
        self._differences.inc((candidate_bps - control_bps) ** 2)
        for provider, bps in (("L2", control_bps), ("L3", candidate_bps)):
            self._sums[provider][bps >= 0].inc(abs(bps))
            self._squares[provider].inc(bps * bps)


def export_control(registry: CollectorRegistry, control: RolloutControl) -> None:
    """Export the control state as this process applies it, read at each scrape."""
    reader = control.reader

    def basis_points() -> float:
        document = control.routing().document
        return 0 if document is None or document.phase not in LIVE_PHASES else document.basis_points

    gauges = {
        "rollout_generation": (
            "Generation of the rollout state applied here; 0 before the first",
            lambda: control.routing().generation,
        ),
        "rollout_basis_points": ("Share of symbols on L3 now, in 1/10,000", basis_points),
        "control_state_age_seconds": (
            "Age of the rollout state, from before its last read was sent",
            lambda: reader.view().age_seconds,
        ),
        "l3_enabled": (
            "Whether L3 may answer anything at all (1 yes, 0 no)",
            lambda: l3_may(control),
        ),
    }
    for name, (text, read) in gauges.items():
        Gauge(name, text, registry=registry).set_function(read)
    phases = Gauge("rollout_phase", "1 for the present phase", ["phase"], registry=registry)
    for phase in Phase:
        phases.labels(phase.value).set_function(functools.partial(_is_in, control, phase))


def _is_in(control: RolloutControl, phase: Phase) -> bool:
    document = control.routing().document
    return document is not None and document.phase is phase


def l3_may(control: RolloutControl) -> bool:
    """Return whether some order could be answered by L3 now: no rule up to SHADOW forbids it."""
    config = control.routing()
    if config.document is None:
        return False
    rule = assign("any", "", config, control.now()).rule
    return rule in {Rule.DENY_LIST, Rule.ALLOW_LIST, Rule.PERCENTAGE, Rule.DEFAULT}


def known_code(fault: errors.Fault) -> str:
    """Return the fault's code where it is in the table, else INTERNAL: labels stay few."""
    return fault.code if fault.code in FAULT_CODES else errors.Fault.code


class ProcessMetrics:
    """Count the lives of the shadow process; every child exists from the start, at zero."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.up = Gauge(
            "shadow_process_up", "Whether the shadow process is ready (1 yes)", registry=registry
        )
        endings = Counter(
            "shadow_process_endings",
            "Shadow processes that ended, by reason; not those the router ended with the phase",
            ["reason"],
            registry=registry,
        )
        self.endings = {reason: endings.labels(reason) for reason in ENDINGS}
