"""The simulator: whether it serves, what it is asked, how fast, and what it refuses."""

from grafana_foundation_sdk.builders.dashboard import Row

from grafana.boards.panels import NO_YES, ON, RATE, Panel, chart, listing, number, quantiles, row

_BAD = 'result=~"error|unavailable|deadline"'


def panels() -> list[Row | Panel]:
    """Return the rows and panels."""
    return [
        *_state(),
        *_executions(),
        *_checks(),
    ]


def _state() -> list[Row | Panel]:
    return [
        row("State"),
        number(
            "Serving",
            f"min(simulator_serving{{{ON}}})",
            names=NO_YES,
            text="The last self-check gave the right answer.",
        ),
        number(
            "Enabled",
            f'min(l3_enabled{{job="simulator",{ON}}})',
            names=(("no", "orange"), ("yes", "green")),
        ),
        number("Configuration's version", f"max(l3_config_version{{{ON}}})"),
        number(
            "Refused configurations, one day",
            f'sum(increase(config_reloads_total{{job="simulator",outcome="refused",{ON}}}[1d]))',
            steps=[(1, "orange")],
        ),
        number("In flight", f"sum(simulator_in_flight{{{ON}}})"),
        number("Book sessions", f"sum(simulator_sessions{{{ON}}})"),
    ]


def _executions() -> list[Row | Panel]:
    return [
        row("Executions"),
        chart(
            "By result",
            [(f"sum by (result) (rate(l3_executions_total{{{ON}}}{RATE}) > 0)", "{{result}}")],
            unit="ops",
            stacked=True,
            text="Target above 1,000/s when busy; warning below 500/s while work is turned away.",
        ),
        chart(
            "Latency",
            quantiles(f"l3_latency_seconds_bucket{{{ON}}}", "", "", (0.5, 0.95, 0.99)),
            unit="s",
            steps=[(0.001, "yellow"), (0.005, "red")],
            text="Of this host. Target: p95 below 1 ms, warning above 5 ms.",
        ),
        chart(
            "Simulated latency",
            quantiles(f"l3_simulated_latency_seconds_bucket{{{ON}}}", "", "", (0.5, 0.95, 0.99)),
            unit="s",
            text="The market's, from the decision to the match.",
        ),
        chart(
            "Failures and refusals",
            [
                (f"sum by (result) (rate(l3_executions_total{{{_BAD},{ON}}}{RATE}))", "{{result}}"),
                (f'sum(rate(l3_executions_total{{result="overloaded",{ON}}}{RATE}))', "overloaded"),
            ],
            unit="ops",
        ),
        chart(
            "Busiest symbols",
            [
                (
                    f"topk(5, sum by (symbol) (rate(l3_executions_total{{{ON}}}{RATE})) > 0)",
                    "{{symbol}}",
                )
            ],
            unit="ops",
        ),
        chart(
            "Slippage of L3 fills",
            quantiles(f"l3_slippage_bps_bucket{{{ON}}}", "", "", (0.05, 0.5, 0.95)),
            unit="bps",
        ),
    ]


def _checks() -> list[Row | Panel]:
    return [
        row("Sessions and checks"),
        chart(
            "Subscribers cut off",
            [(f"sum(increase(simulator_subscribers_cut_off_total{{{ON}}}[5m]))", "within 5 min")],
            text="They fell behind.",
        ),
        chart(
            "Self-checks",
            [
                (
                    f"sum by (outcome) (increase(simulator_self_checks_total{{{ON}}}[5m]))",
                    "{{outcome}}",
                )
            ],
        ),
        listing("Configuration in force", f"l3_config_info{{{ON}}}", width=8),
    ]
