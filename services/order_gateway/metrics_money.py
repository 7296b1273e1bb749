"""Prometheus families of the gateway's money: equity, profit, funding, exposure, slippage.

In quote currency, over all symbols: what belongs to one symbol is read from SQL, so that no gauge
has a series for each. A figure that nobody has computed yet is NaN, which no rule takes for a zero.
"""

import time
from collections.abc import Callable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

PNL_KINDS: Final = ("realized", "unrealized", "funding_paid", "fees", "net")
EXPOSURE_KINDS: Final = ("gross", "net", "largest")
FUNDING_DIRECTIONS: Final = ("paid", "received")
SLIPPAGE_BPS_BUCKETS: Final = (-50, -20, -10, -5, -2, -1, -0.5, 0, 0.5, 1, 2, 5, 10, 15, 20, 50)
"""With an edge on each band of the go/no-go matrix and each profile's limit."""
_UNKNOWN: Final = float("nan")


class MoneyMetrics:
    """What the gateway owns, owes, earns and risks."""

    def __init__(
        self, registry: CollectorRegistry, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._monotonic = monotonic
        self._figured_at = float("-inf")
        Gauge(
            "gateway_figures_age_seconds",
            "Since exposure, and what goes with it, was last computed; +Inf before the first time",
            registry=registry,
        ).set_function(lambda: self._monotonic() - self._figured_at)
        self.equity = Gauge(
            "gateway_equity_usd",
            "Account equity at the mark; NaN before it is known",
            registry=registry,
        )
        self.daily_pnl = Gauge(
            "gateway_daily_pnl_usd",
            "Equity minus that of the day's start, deposits aside; NaN before it is known",
            registry=registry,
        )
        self.drawdown = Gauge(
            "gateway_drawdown_ratio",
            "How far equity is below its peak, as a share of the peak; NaN before it is known",
            registry=registry,
        )
        self.leverage = Gauge(
            "gateway_leverage_ratio",
            "Gross exposure over equity; NaN before it is known",
            registry=registry,
        )
        self.liquidation_distance = Gauge(
            "gateway_liquidation_distance_ratio",
            "Way from the mark to the nearest liquidation price, over the mark; +Inf without one",
            registry=registry,
        )
        self.pnl_drift = Gauge(
            "gateway_pnl_drift_ratio",
            "Our profit against the venue's, over all profit figures; NaN before it is known",
            registry=registry,
        )
        self._pnl = Gauge(
            "gateway_pnl_usd",
            "Profit since the journal's start; net = realized + unrealized - funding - fees",
            ["kind"],
            registry=registry,
        )
        self._exposure = Gauge(
            "gateway_exposure_usd",
            "Positions at the mark: all, long minus short, and the largest",
            ["kind"],
            registry=registry,
        )
        self._funding = Counter(
            "gateway_funding_usd",
            "Funding booked, by direction",
            ["direction"],
            registry=registry,
        )
        self._note_slippage(registry)
        for gauge in (
            *(self.equity, self.daily_pnl, self.drawdown, self.leverage, self.pnl_drift),
            *(self.liquidation_distance, *(self._pnl.labels(kind) for kind in PNL_KINDS)),
            *(self._exposure.labels(kind) for kind in EXPOSURE_KINDS),
        ):
            gauge.set(_UNKNOWN)
        for direction in FUNDING_DIRECTIONS:
            self._funding.labels(direction)

    def _note_slippage(self, registry: CollectorRegistry) -> None:
        """Make the families of slippage: a histogram that starts below zero has no sum."""
        self._slippage = Histogram(
            "gateway_slippage_bps",
            "Signed slippage of fills against the mid at the decision; positive is a cost",
            buckets=SLIPPAGE_BPS_BUCKETS,
            registry=registry,
        )
        self._slippage_signed = Counter(
            "gateway_slippage_bps_signed",
            "Sum of slippage, costs and gains apart (both positive): their difference over the"
            " count is the mean",
            ["sign"],
            registry=registry,
        )
        self._slippage_squares = Counter(
            "gateway_slippage_bps_square",
            "Sum of squared slippage, for the RMSE",
            registry=registry,
        )
        for sign in ("cost", "gain"):
            self._slippage_signed.labels(sign)

    def set_pnl(self, **kinds: float) -> None:
        """Set profit by kind: any of `PNL_KINDS`."""
        _set(self._pnl, kinds, PNL_KINDS)

    def set_exposure(self, **kinds: float) -> None:
        """Set exposure by kind: any of `EXPOSURE_KINDS`; the figures' age begins anew."""
        self._figured_at = self._monotonic()
        _set(self._exposure, kinds, EXPOSURE_KINDS)

    def count_funding(self, paid: float) -> None:
        """Count one funding payment; below zero it was received."""
        self._funding.labels("paid" if paid >= 0 else "received").inc(abs(paid))

    def observe_slippage(self, bps: float) -> None:
        """Count the slippage of one fill."""
        self._slippage.observe(bps)
        self._slippage_signed.labels("cost" if bps >= 0 else "gain").inc(abs(bps))
        self._slippage_squares.inc(bps * bps)


def _set(gauge: Gauge, values: Mapping[str, float], allowed: tuple[str, ...]) -> None:
    for kind, value in values.items():
        if kind not in allowed:
            raise AssertionError(f"kind: {kind!r}; allowed: {', '.join(allowed)}")
        gauge.labels(kind).set(value)
