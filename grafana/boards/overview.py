"""The page to open first: is it safe to go on, and if not, why not?"""

from typing import Final

from grafana_foundation_sdk.builders.dashboard import Row

from grafana.boards.panels import (
    KILL_STATES,
    NO_YES,
    RATE,
    Panel,
    Query,
    chart,
    listing,
    number,
    row,
    timeline,
)

JOBS: Final = 'job=~"router|simulator|order_gateway|watchdog|paper_exchange"'
_FIRING: Final = 'ALERTS{alertstate="firing"'
# 0: go on, 1: with care, 2: stop. Nothing at all, which shows as UNKNOWN, where a service is not
# scraped: what nobody measures is not safe.
SAFE: Final = (
    f'clamp_max(2 * (count({_FIRING},severity="critical"}}) or vector(0))'
    f' + (count({_FIRING},severity="warning"}}) or vector(0)), 1)'
    f' + clamp_max(count({_FIRING},severity="critical"}}) or vector(0), 1)'
    f" and on () count(count by (job) (up{{{JOBS}}} == 1)) == 5"
)
_VERDICTS: Final = (("GO ON", "green"), ("WITH CARE", "yellow"), ("STOP", "red"))
PHASE: Final = "max by (phase) (rollout_phase) == 1"


def panels() -> list[Row | Panel]:
    """Return the rows and panels."""
    return [
        *_verdict(),
        *_services(),
        *_machine(),
    ]


def _verdict() -> list[Row | Panel]:
    return [
        row("Is it safe to go on?"),
        number(
            "Is it safe to go on?",
            SAFE,
            width=6,
            height=8,
            names=_VERDICTS,
            nothing="UNKNOWN: do not go on",
            text="STOP: an alert that pages fires. WITH CARE: one that is a ticket does. UNKNOWN:"
            " a service is not measured. Why is in the table beside it.",
            link=("What to do", "${docs}/runbooks/index.html"),
        ),
        listing(
            "Why: alerts that fire",
            f'sort_desc({_FIRING},severity!="none"}})',
            width=18,
            height=8,
            nothing="No alert fires",
            text="Each alert's section of the runbook says what it means and what to do.",
        ),
        number("Rollout", PHASE, "{{phase}}", show_name=True, text="The phase that routers apply."),
        number(
            "Share on L3",
            "max(rollout_basis_points) / 10000",
            unit="percentunit",
            text="Share of symbols in the phases that answer with L3.",
        ),
        number("Kill state", "max(gateway_kill_state)", names=KILL_STATES),
        number(
            "Rollout go/no-go",
            "max by (decision) (rollout_go_no_go) == 1",
            "{{decision}}",
            show_name=True,
        ),
        number(
            "Gateway go/no-go",
            "max by (decision) (gateway_go_no_go) == 1",
            "{{decision}}",
            show_name=True,
        ),
        number(
            "Control state age",
            "max(control_state_age_seconds)",
            unit="s",
            steps=[(0.5, "orange"), (5, "red")],
            text="Beyond 0.5 s routers answer with L2 and the gateway takes no new risk.",
        ),
    ]


def _services() -> list[Row | Panel]:
    return [
        row("Services"),
        timeline(
            "Up", [(f"max by (job) (up{{{JOBS}}})", "{{job}}")], (("down", "red"), ("up", "green"))
        ),
        chart(
            "Alerts firing",
            [(f'count by (severity) ({_FIRING},severity!="none"}}) or vector(0)', "{{severity}}")],
            width=12,
            height=5,
        ),
        number(
            "Simulator's self-check",
            "min(simulator_serving)",
            names=NO_YES,
            text="Whether a known order comes out as it must.",
        ),
        number(
            "L3 enabled",
            "min by (job) (l3_enabled)",
            "{{job}}",
            names=(("no", "orange"), ("yes", "green")),
        ),
        number("Control state durable", "min(control_durable)", names=NO_YES),
        number("Journal takes orders", "min(gateway_journal_writable)", names=NO_YES),
        number("Venue's feed complete", "min(venue_feed_connected)", names=NO_YES),
        number("Exchange runs", "min(exchange_running)", names=NO_YES),
    ]


def _machine() -> list[Row | Panel]:
    return [
        row("Processes"),
        chart(
            "Processor",
            [(f"rate(process_cpu_seconds_total{{{JOBS}}}{RATE})", "{{job}}")],
            unit="percentunit",
        ),
        chart("Memory", [(f"process_resident_memory_bytes{{{JOBS}}}", "{{job}}")], unit="bytes"),
        chart("Open files", [(f"process_open_fds{{{JOBS}}}", "{{job}}")]),
        chart(
            "Restarts within an hour",
            [(f"changes(process_start_time_seconds{{{JOBS}}}[1h])", "{{job}}")],
            width=12,
        ),
        listing(
            "Builds",
            "touchstone_build_info",
            text="More than one version side by side for long is an alert.",
        ),
    ]


def queries_of_annotations() -> list[Query]:
    """Return what is drawn over every panel of every board, with the text of the mark."""
    return [
        (
            f"{PHASE} unless on (phase) (max by (phase) (rollout_phase offset 1m) == 1)",
            "Rollout: {{phase}}",
        ),
        (
            "max(rollout_generation) - max(rollout_generation offset 1m) > 0",
            "Rollout: another generation",
        ),
        (
            (
                "max by (instance) (gateway_kill_state)"
                " != max by (instance) (gateway_kill_state offset 1m)"
            ),
            "Kill state of {{instance}} changed",
        ),
    ]
