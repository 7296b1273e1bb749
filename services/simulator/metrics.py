"""What the simulator counts. `symbol` is on counters only, and bounded."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from execution_providers.types import ExecutionRequest, Fill, FillStatus, Order
from execution_providers.written import latency_ns_of
from lob.errors import Fault
from lob.types import Side
from services.simulator.forecasts import ForecastAccuracy
from touchstone.kit.errors import OUTCOMES, outcome_of
from touchstone.kit.tallies import Count, Counts, Distributions

MAX_SYMBOLS: Final = 200
OTHER_SYMBOL: Final = "other"
NO_LABEL: Final = "none"

# An edge on every threshold that a rule or the guide names, both signs, and none in between gaps.
SLIPPAGE_BPS_BUCKETS: Final = (-50, -20, -10, -5, -2, -1, -0.5, 0, 0.5, 1, 2, 5, 10, 20, 50)
LATENCY_SECONDS_BUCKETS: Final = (
    *(0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005),
    *(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0),
)


class SimulatorMetrics:
    """The simulator's metric families on one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._symbols: set[str] = set()
        self._executions = Counts(
            "l3_executions_total",
            "L3 executions by what became of them; symbols beyond a bound count as 'other'",
            ["symbol", "side", "result"],
            registry,
        )
        self._fills: dict[tuple[str, Side, FillStatus], Count] = {}
        self._slippage = Distributions(
            "l3_slippage_bps",
            "Signed slippage of L3 fills against the mid at the decision, positive is a cost",
            [],
            registry,
            SLIPPAGE_BPS_BUCKETS,
        ).labels()
        # A histogram with negative buckets has no sum: these and its count give mean and RMSE.
        signed = Counts(
            "l3_slippage_bps_signed",
            "Sum of the slippage of L3 fills, costs and gains apart (both positive)",
            ["sign"],
            registry,
        )
        self._gains, self._costs = signed.labels("gain"), signed.labels("cost")
        self._slippage_squares = Counts(
            "l3_slippage_bps_squared_total",
            "Sum of the squared slippage of L3 fills",
            [],
            registry,
        ).labels()
        self._latency = Distributions(
            "l3_latency_seconds",
            "Host time of one L3 execution, waiting for a thread included",
            [],
            registry,
            LATENCY_SECONDS_BUCKETS,
        ).labels()
        self._simulated_latency = Distributions(
            "l3_simulated_latency_seconds",
            "Simulated time from the market state to the match",
            [],
            registry,
            LATENCY_SECONDS_BUCKETS,
        ).labels()
        self._forecasts = ForecastAccuracy(registry)
        self._note_configurations(registry)
        self.in_flight = Gauge(
            "simulator_in_flight", "Executions accepted and not answered yet", registry=registry
        )
        self.sessions = Gauge("simulator_sessions", "Open book sessions", registry=registry)
        self.cut_off = Counter(
            "simulator_subscribers_cut_off_total",
            "Event subscribers cut off because they fell behind",
            registry=registry,
        )
        results = {outcome.metric_result for outcome in OUTCOMES.values()}
        for result in sorted(results | {status.value.lower() for status in FillStatus}):
            self._executions.labels(NO_LABEL, NO_LABEL, result)

    def _note_configurations(self, registry: CollectorRegistry) -> None:
        """Make the families of the configuration in force and of the self-check."""
        self._enabled = Gauge(
            "l3_enabled", "Whether the L3 configuration lets the simulator act", registry=registry
        )
        self._version = Gauge(
            "l3_config_version",
            "1 for the L3 configuration of the start, one more for each taken over since",
            registry=registry,
        )
        self._config = Gauge(
            "l3_config_info", "1 for the L3 configuration in force", ["digest"], registry=registry
        )
        reloads = Counter(
            "config_reloads",
            "Configuration files read again, by whether they were taken over",
            ["outcome"],
            registry=registry,
        )
        self._reloads = {ok: reloads.labels("applied" if ok else "refused") for ok in (True, False)}
        checks = Counter(
            "simulator_self_checks",
            "Executions of the known order, by whether the answer was the right one",
            ["outcome"],
            registry=registry,
        )
        self._checks = {ok: checks.labels("passed" if ok else "failed") for ok in (True, False)}
        self._serving = Gauge(
            "simulator_serving", "Whether the last self-check passed", registry=registry
        )

    def note_config(self, digest: str, version: int, *, enabled: bool) -> None:
        """Say which configuration is in force."""
        self._config.clear()
        self._config.labels(digest).set(1)
        self._version.set(version)
        self._enabled.set(1 if enabled else 0)

    def count_reload(self, *, applied: bool) -> None:
        """Count a file that was read again."""
        self._reloads[applied].inc()

    def count_self_check(self, *, passed: bool) -> None:
        """Count an execution of the known order."""
        self._checks[passed].inc()
        self._serving.set(1 if passed else 0)

    def record_fill(self, request: ExecutionRequest, fill: Fill, seconds: float) -> None:
        """Count one answered execution."""
        order = request.order
        key = (order.symbol, order.side, fill.status)
        count = self._fills.get(key)
        if count is None:
            count = self._count_of(*key)
        count.value += 1
        self._latency.observe(seconds)
        latency_ns = latency_ns_of(fill)
        if latency_ns is not None:
            self._simulated_latency.observe(latency_ns / 1e9)
        slippage = fill.slippage_bps
        if slippage is not None:
            bps = float(slippage)
            self._slippage.observe(bps)
            if bps >= 0:
                self._costs.value += bps
            else:
                self._gains.value -= bps
            self._slippage_squares.value += bps * bps
        self._forecasts.observe(fill, request)

    def record_fault(self, order: Order | None, fault: Fault) -> None:
        """Count one execution that ended in a fault; `order` None when it could not be read."""
        symbol = NO_LABEL if order is None else self._symbol(order.symbol)
        side = NO_LABEL if order is None else Side(order.side).value
        self._executions.labels(symbol, side, outcome_of(fault).metric_result).inc()

    def _count_of(self, symbol: str, side: Side, status: FillStatus) -> Count:
        """Return the count of a symbol's fills, found at once the next time."""
        label = self._symbol(symbol)
        count = self._executions.labels(label, side.value, status.value.lower())
        if label != OTHER_SYMBOL:
            self._fills[symbol, side, status] = count
        return count

    def _symbol(self, symbol: str) -> str:
        if symbol not in self._symbols:
            if len(self._symbols) >= MAX_SYMBOLS:
                return OTHER_SYMBOL
            self._symbols.add(symbol)
        return symbol
