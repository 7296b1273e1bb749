"""The rollout: where it stands, what holds it, what the pairs say, and what it is made of."""

from grafana_foundation_sdk.builders.dashboard import Row

from grafana.boards.overview import PHASE
from grafana.boards.panels import NO_YES, ON, RATE, Panel, chart, number, row, timeline

PHASES = ("OFF", "SHADOW", "CANARY", "EXPANSION", "FULL", "ROLLED_BACK")
_ON_OFF = (("", "transparent"), ("now", "blue"))
_DOSSIERS = ("Dossiers", "${router}/v1/rollout/dossiers")
_ACKS = 'kill_switch_ack_seconds_bucket{scope="rollout"}'


def panels() -> list[Row | Panel]:
    """Return the rows and panels."""
    return [
        *_standing(),
        *_brakes(),
        *_deciders(),
        *_shadow(),
    ]


def _standing() -> list[Row | Panel]:
    return [
        row("Where it stands"),
        number(
            "Phase",
            PHASE,
            "{{phase}}",
            show_name=True,
            link=("Rollout runbook", "${docs}/runbooks/rollout.html"),
        ),
        number("Share of symbols", "max(rollout_basis_points) / 10000", unit="percentunit"),
        number(
            "Share of orders, realised",
            f'sum(rate(exec_orders_total{{provider="L3",mode="live"}}{RATE}))'
            f' / (sum(rate(exec_orders_total{{mode=~"live|fallback"}}{RATE})) > 0)',
            unit="percentunit",
            text="What L3 answered of all orders: symbols are not equally busy.",
        ),
        number(
            "Share of value, realised",
            f'sum(rate(exec_notional_total{{provider="L3",mode="live"}}{RATE}))'
            f' / (sum(rate(exec_notional_total{{mode=~"live|fallback"}}{RATE})) > 0)',
            unit="percentunit",
        ),
        number(
            "Go/no-go", "max by (decision) (rollout_go_no_go) == 1", "{{decision}}", show_name=True
        ),
        number(
            "Judge", "max by (outcome) (rollout_judge_outcome) == 1", "{{outcome}}", show_name=True
        ),
        timeline(
            "Phase over time",
            [(f'max by (phase) (rollout_phase{{phase="{phase}"}})', phase) for phase in PHASES],
            _ON_OFF,
            height=8,
        ),
        timeline(
            "Generation of each router",
            [(f"rollout_generation{{{ON}}}", "{{instance}}")],
            (),
            height=8,
            text="Routers that apply different generations for more than 30 s are an alert.",
        ),
    ]


def _brakes() -> list[Row | Panel]:
    return [
        row("What would stop it"),
        number(
            "Hard triggers tripped, one day",
            "sum(increase(rollout_trigger_trips_total[1d]))",
            steps=[(1, "red")],
            link=_DOSSIERS,
        ),
        number(
            "Harm proven, one day",
            "sum(increase(rollout_judge_harm_total[1d]))",
            steps=[(1, "red")],
        ),
        number(
            "Judge overdue",
            "max(rollout_judge_overdue)",
            names=(("no", "green"), ("yes", "orange")),
        ),
        number("Control state durable", "min(control_durable)", names=NO_YES),
        number(
            "Dossiers failed, one day",
            'sum(increase(rollout_dossiers_total{outcome="failed"}[1d]))',
            steps=[(1, "red")],
            link=_DOSSIERS,
        ),
        number(
            "Decisions lost, one day",
            'sum(increase(decision_log_lines_total{outcome!="written"}[1d]))',
            steps=[(1, "orange")],
            text="What is lost cannot be replayed.",
        ),
        chart(
            "Error budget: pace of burning",
            [
                ("provider_mode:exec_error_ratio:rate5m / 0.001", "5 min {{provider}} {{mode}}"),
                ("provider_mode:exec_error_ratio:rate1h / 0.001", "1 h {{provider}} {{mode}}"),
            ],
            steps=[(1, "yellow"), (6, "orange"), (14.4, "red")],
            text="1 uses up the month's budget in a month. 14.4 over an hour and 5 minutes pages.",
        ),
        chart(
            "Trips of the hard triggers",
            [(f"sum by (trigger) (increase(rollout_trigger_trips_total{RATE}))", "{{trigger}}")],
        ),
        chart(
            "Control state age",
            [(f'control_state_age_seconds{{job="router",{ON}}}', "{{instance}}")],
            unit="s",
            steps=[(0.5, "orange"), (60, "red")],
        ),
    ]


def _deciders() -> list[Row | Panel]:
    return [
        row("Who decides"),
        chart(
            "Decisions by rule",
            [(f"sum by (rule) (rate(exec_decisions_total{RATE}))", "{{rule}}")],
            unit="ops",
            stacked=True,
        ),
        chart(
            "Fallbacks to L2",
            [(f"sum by (code) (rate(exec_fallbacks_total{RATE}))", "{{code}}")],
            unit="ops",
        ),
        chart(
            "Acknowledged changes",
            [
                (
                    f"histogram_quantile(0.99, sum by (le) (rate({_ACKS}[1h]))) >= 0 or vector(0)",
                    "p99 of an hour",
                ),
            ],
            unit="s",
            steps=[(0.65, "red")],
            text="From a tightening until every member applied it, or its lease lapsed.",
        ),
    ]


def _shadow() -> list[Row | Panel]:
    return [
        row("Shadow"),
        number(
            "Shadow process",
            "max(shadow_process_up)",
            names=(("not running", "blue"), ("ready", "green")),
            text="It runs in the shadow phase only.",
        ),
        number("Waiting", "sum(shadow_queue_depth)"),
        chart(
            "Pairs, drops and failures",
            [
                (f"sum(rate(shadow_pairs_total{RATE}))", "pairs"),
                (f"sum by (outcome) (rate(live_pairs_total{RATE}))", "live {{outcome}}"),
                (f"sum by (reason) (rate(shadow_dropped_total{RATE}))", "dropped {{reason}}"),
                (f"sum(rate(shadow_errors_total{RATE}))", "failed"),
            ],
            width=16,
            unit="ops",
            text="`rate`: more orders than are to be compared; no loss.",
        ),
    ]
