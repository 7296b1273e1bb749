"""Execution, L2 against L3: the guide's four panels, and what is behind each."""

from grafana_foundation_sdk.builders.dashboard import Row

from grafana.boards.panels import RATE, Panel, bars, chart, number, quantiles, row

_BY = "by (provider, mode)"
_ARM = "{{provider}} {{mode}}"
_WORKED = 'outcome=~"filled|partially_filled|unfilled"'
_DONE = 'outcome=~"filled|partially_filled"'
_N = f"(sum(rate(l3_fill_forecasts_total{RATE})) > 0)"


def panels() -> list[Row | Panel]:
    """Return the rows and panels."""
    return [
        row("1. Execution summary"),
        *_summary(),
        row("2. Slippage: L2 against L3"),
        *_slippage(),
        row("3. Latency"),
        *_latency(),
        row("4. Fill probability: predicted against actual"),
        *_forecasts(),
    ]


def _summary() -> list[Panel]:
    orders = f"(sum {_BY} (rate(exec_orders_total{RATE})) > 0)"
    errors = f'sum {_BY} (rate(exec_orders_total{{outcome="error"}}{RATE}))'
    worked = f"(sum {_BY} (rate(exec_orders_total{{{_WORKED}}}{RATE})) > 0)"
    return [
        chart(
            "Executions",
            [(f"sum {_BY} (rate(exec_orders_total{RATE}))", _ARM)],
            width=6,
            unit="ops",
            stacked=True,
        ),
        chart(
            "Success rate",
            [(f"1 - {errors} / {orders}", _ARM)],
            width=6,
            unit="percentunit",
            steps=[(0.99, "orange"), (0.999, "green")],
            base="red",
            text="Executions that ended without an error, of all.",
        ),
        chart(
            "Error rate",
            [(f"{errors} / {orders}", _ARM)],
            width=6,
            unit="percentunit",
            steps=[(0.001, "orange"), (0.01, "red")],
            text="Warning above 0.1 %, rollback above 1 % over 5 minutes.",
        ),
        chart(
            "Fill rate",
            [(f"sum {_BY} (rate(exec_orders_total{{{_DONE}}}{RATE})) / {worked}", _ARM)],
            width=6,
            unit="percentunit",
            steps=[(0.9, "orange"), (0.95, "green")],
            base="red",
            text="Of the orders that were worked. Target 95 %, warning below 90 %.",
        ),
    ]


def _slippage() -> list[Panel]:
    count = f"(sum {_BY} (rate(exec_slippage_bps_count{RATE})) > 0)"
    signed = "exec_slippage_bps_signed_total"
    mean = (
        f'(sum {_BY} (rate({signed}{{sign="cost"}}{RATE}))'
        f' - sum {_BY} (rate({signed}{{sign="gain"}}{RATE}))) / {count}'
    )
    rmse = f"sqrt(sum {_BY} (rate(exec_slippage_bps_square_total{RATE})) / {count})"
    return [
        _distribution("L2"),
        _distribution("L3"),
        chart(
            "Slippage, p50 and p95",
            quantiles("exec_slippage_bps_bucket", "provider, mode", _ARM, (0.5, 0.95)),
            unit="bps",
            steps=[(5, "orange"), (10, "red")],
            text="Signed, against the mid at the decision. Rollback: L3's p95 above 10 bps.",
        ),
        number(
            "Correlation L2, L3",
            "pair_slippage_bps:correlation_rate10m",
            width=4,
            height=7,
            text="Of pairs, over 10 minutes. It is not agreement: L3 may follow L2 and yet always"
            " cost more. Bias and RMSE say that.",
        ),
        number(
            "Bias, L3 minus L2",
            'sum(provider:pair_slippage_bps:mean_rate10m{provider="L3"})'
            ' - sum(provider:pair_slippage_bps:mean_rate10m{provider="L2"})',
            width=4,
            height=7,
            unit="bps",
        ),
        chart(
            "Agreement of pairs",
            [
                ("pair_slippage_bps:correlation_rate10m", "correlation"),
                ("pair_slippage_bps:rmse_rate10m", "RMSE L3 against L2, bps"),
                ("provider:pair_slippage_bps:mean_rate10m", "mean {{provider}}, bps"),
            ],
            text="The same order, market and seed on both; over 10 minutes.",
        ),
        chart(
            "Mean and RMSE against the mid",
            [(mean, f"mean {_ARM}"), (rmse, f"RMSE {_ARM}")],
            unit="bps",
            steps=[(2, "yellow"), (5, "red")],
            text="RMSE: target 2 bps, warning above 5.",
        ),
    ]


def _distribution(provider: str) -> Panel:
    bucket = f'exec_slippage_bps_bucket{{provider="{provider}"}}'
    return bars(
        f"{provider} slippage distribution",
        [
            (
                f"sum by (le) (increase({bucket}$__range))".replace("$__range", "[$__range]"),
                "up to {{le}} bps",
            )
        ],
        text="Executions with a slippage up to each edge, over the time shown.",
    )


def _latency() -> list[Panel]:
    above = (
        '1 - sum by (provider, mode) (rate(exec_latency_seconds_bucket{le="0.01"}[5m]))'
        " / (sum by (provider, mode) (rate(exec_latency_seconds_count[5m])) > 0)"
    )
    pairs = "(sum(rate(pair_answered_total[10m])) > 0)"
    return [
        chart(
            "Latency, p50, p95 and p99",
            quantiles("exec_latency_seconds_bucket", "provider, mode", _ARM, (0.5, 0.95, 0.99)),
            width=12,
            unit="s",
            steps=[(0.005, "orange"), (0.01, "red")],
            text="Time on this host, not that of the simulated market. Rollback: p95 above 10 ms.",
        ),
        chart(
            "Above 10 ms",
            [(above, _ARM)],
            width=6,
            unit="percentunit",
            steps=[(0.05, "red")],
            text='Exact, not interpolated: above 5 % is "p95 > 10 ms".',
        ),
        chart(
            "L3's overhead, of pairs",
            [
                (
                    (
                        f'(sum(rate(pair_latency_seconds_total{{provider="L3"}}[10m]))'
                        f' - sum(rate(pair_latency_seconds_total{{provider="L2"}}[10m]))) / {pairs}'
                    ),
                    "mean",
                ),
            ],
            width=6,
            unit="s",
        ),
    ]


def _forecasts() -> list[Panel]:
    off = "Nothing is forecast where fill_probability.enabled is false in the L3 configuration."
    by_bin = "(sum by (bin) (increase(l3_fill_forecasts_total[$__range])) > 0)"
    return [
        bars(
            "Calibration: filled, by what was predicted",
            [
                (
                    f"sum by (bin) (increase(l3_fill_forecasts_filled_total[$__range])) / {by_bin}",
                    "predicted up to {{bin}}",
                )
            ],
            unit="percentunit",
            text="Of a model that is right, each bar is as long as its name says. " + off,
        ),
        chart(
            "Predicted and actual fill rate",
            [
                (f"sum(rate(l3_fill_forecast_probability_total{RATE})) / {_N}", "predicted"),
                (f"sum(rate(l3_fill_forecasts_filled_total{RATE})) / {_N}", "actual"),
                (
                    f"sum(rate(l3_fill_forecast_confidence_total{RATE})) / {_N}",
                    "model's confidence",
                ),
            ],
            unit="percentunit",
            text=off,
        ),
        number(
            "Brier score, one hour",
            "l3:fill_forecast_brier:rate1h",
            height=7,
            steps=[(0.2, "yellow"), (0.25, "red")],
            text="Mean squared error of the probability: 0 is right, 0.25 no better than a coin.",
        ),
        number(
            "Bias, one hour",
            "l3:fill_forecast_bias:rate1h",
            height=7,
            unit="percentunit",
            steps=[(-0.1, "green"), (0.1, "red")],
            base="red",
            text="Predicted minus actual. Beyond 10 points either way is an alert.",
        ),
        chart(
            "Forecasts with and without a verdict",
            [
                (f"sum(rate(l3_fill_forecasts_total{RATE}))", "judged"),
                (
                    f"sum by (reason) (rate(l3_fill_forecasts_unjudged_total{RATE}))",
                    "not: {{reason}}",
                ),
            ],
            unit="ops",
            text="short_bar: the bar ended before the forecast's horizon.",
        ),
    ]
