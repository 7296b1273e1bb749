"""The paper exchange: whether it runs, what it takes and refuses, its feed and its journal."""

from grafana_foundation_sdk.builders.dashboard import Row

from grafana.boards.panels import NO_YES, ON, RATE, Panel, chart, number, row

_REFUSED = 'outcome!="ACCEPTED"'


def panels() -> list[Row | Panel]:
    """Return the rows and panels."""
    return [
        *_state(),
        *_orders(),
        *_feed(),
        *_journal(),
        *_faults(),
    ]


def _state() -> list[Row | Panel]:
    return [
        row("State"),
        number("Runs", f"min(exchange_running{{{ON}}})", names=NO_YES),
        number(
            "Durable",
            f"min(exchange_durable{{{ON}}})",
            names=(("in memory", "orange"), ("yes", "green")),
        ),
        number(
            "Clock", f"max(exchange_clock_speed{{{ON}}})", text="Exchange seconds to a second here."
        ),
        number("Connections", f"sum(exchange_connections{{{ON}}})"),
        number("Last snapshot", f"max(exchange_snapshot_age_seconds{{{ON}}})", unit="s"),
        number(
            "Snapshot failed",
            f"max(exchange_snapshot_failed{{{ON}}})",
            names=(("no", "green"), ("yes", "red")),
        ),
    ]


def _orders() -> list[Row | Panel]:
    return [
        row("Orders"),
        chart(
            "Orders taken",
            [(f'sum(rate(exchange_orders_total{{outcome="ACCEPTED",{ON}}}{RATE}))', "accepted")],
            unit="ops",
        ),
        chart(
            "Orders refused",
            [
                (
                    f"sum by (outcome) (rate(exchange_orders_total{{{_REFUSED},{ON}}}{RATE}))",
                    "{{outcome}}",
                )
            ],
            unit="ops",
        ),
        chart(
            "Cancels",
            [(f"sum by (outcome) (rate(exchange_cancels_total{{{ON}}}{RATE}))", "{{outcome}}")],
            unit="ops",
        ),
    ]


def _feed() -> list[Row | Panel]:
    return [
        row("Feed"),
        chart(
            "Messages by channel",
            [
                (
                    f"sum by (channel) (rate(exchange_feed_messages_total{{{ON}}}{RATE}))",
                    "{{channel}}",
                )
            ],
            unit="ops",
        ),
        chart(
            "Level2 updates",
            [
                (f"sum(rate(exchange_feed_levels_total{{{ON}}}{RATE}))", "written"),
                (f"sum(rate(exchange_feed_levels_delivered_total{{{ON}}}{RATE}))", "times clients"),
            ],
            unit="ops",
        ),
        chart(
            "Clients cut off",
            [(f"sum(increase(exchange_feed_cut_off_total{{{ON}}}[5m]))", "within 5 min")],
            text="They read too slowly.",
        ),
    ]


def _journal() -> list[Row | Panel]:
    return [
        row("Journal"),
        chart("Records", [(f"sum(rate(exchange_journal_records{{{ON}}}{RATE}))", "per second")]),
        chart("Size", [(f"sum(exchange_journal_bytes{{{ON}}})", "journal")], unit="bytes"),
        chart(
            "To replay at a restart",
            [(f"sum(exchange_journal_records_since_snapshot{{{ON}}})", "records")],
        ),
    ]


def _faults() -> list[Row | Panel]:
    return [
        row("Faults on demand"),
        chart(
            "Faults that struck",
            [
                (
                    f"sum by (on, kind) (increase(exchange_faults_total{{{ON}}}[5m]))",
                    "{{on}} {{kind}}",
                )
            ],
            width=24,
            height=5,
        ),
    ]
