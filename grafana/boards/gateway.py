"""The order gateway: kill state, go/no-go, risk and profit, orders, the venue, storage."""

from typing import Final

from grafana_foundation_sdk.builders.dashboard import Row

from grafana.boards.panels import (
    KILL_STATES,
    NO_YES,
    ON,
    RATE,
    Panel,
    bars,
    chart,
    number,
    quantiles,
    row,
    sql,
    timeline,
)

# The plan's two queries, as they stand there but for the blanks.
ORDER_SUCCESS_SQL: Final = """SELECT
  COUNT(*) as total_orders,
  SUM(CASE WHEN status = 'filled' THEN 1 ELSE 0 END) as filled,
  SUM(CASE WHEN status = 'rejected' THEN 1 ELSE 0 END) as rejected,
  AVG(CASE WHEN status = 'filled' THEN 1 ELSE 0 END) * 100 as success_rate
FROM orders
WHERE timestamp > NOW() - INTERVAL '1 day';"""
PNL_SQL: Final = """SELECT
  symbol,
  SUM(realized_pnl) as total_realized,
  SUM(funding_paid) as total_funding,
  COUNT(DISTINCT DATE(timestamp)) as days_active,
  SUM(realized_pnl) / COUNT(DISTINCT DATE(timestamp)) as daily_avg
FROM positions
GROUP BY symbol;"""
POSITIONS_SQL: Final = """SELECT
  symbol, quantity, CASE WHEN quantity = 0 THEN NULL ELSE cost / quantity END AS average_price,
  realized_pnl, fees, funding_paid, updated_at
FROM position_totals
ORDER BY symbol;"""
DAYS_SQL: Final = """SELECT
  day, equity_open, equity_close, return_ratio, realized_pnl, unrealized_pnl, funding_paid, fees,
  trades, win_rate, drawdown, sharpe
FROM daily_metrics
ORDER BY day DESC
LIMIT 30;"""
LATEST_ORDERS_SQL: Final = """SELECT
  timestamp, symbol, side, type, quantity, limit_price, filled_quantity, status, reason
FROM orders
ORDER BY timestamp DESC
LIMIT 20;"""
_DIFFERENCES: Final = "gateway_reconciliation_differences_total"
_COLOURS: Final = ("GREEN", "YELLOW", "RED", "UNKNOWN")


def panels() -> list[Row | Panel]:
    """Return the rows and panels."""
    return [
        row("Is it safe to go on?"),
        *_state(),
        row("Profit and risk"),
        *_money(),
        row("Orders"),
        *_orders(),
        *_order_details(),
        row("Venue and storage"),
        *_venue(),
        *_storage(),
        row("Event store"),
        sql("Order success, one day", ORDER_SUCCESS_SQL, height=5),
        sql("PnL by symbol", PNL_SQL, height=5),
        sql("Positions", POSITIONS_SQL, height=6),
        sql("Days", DAYS_SQL, height=6),
        sql("Latest orders", LATEST_ORDERS_SQL, width=24),
    ]


def _state() -> list[Panel]:
    colour = " or ".join(
        f'max by (row) (gateway_go_no_go_row{{colour="{name}",{ON}}}) * {value} > 0'
        if value
        else f'max by (row) (gateway_go_no_go_row{{colour="{name}",{ON}}} == 1) * 0'
        for value, name in enumerate(_COLOURS)
    )
    names = tuple(zip(_COLOURS, ("green", "yellow", "red", "purple"), strict=True))
    return [
        number(
            "Kill state",
            f"max(gateway_kill_state{{{ON}}})",
            names=KILL_STATES,
            link=("Kill runbook", "${docs}/runbooks/kill.html"),
        ),
        number(
            "Go/no-go",
            f"max by (decision) (gateway_go_no_go{{{ON}}}) == 1",
            "{{decision}}",
            show_name=True,
        ),
        number(
            "Guards tripped",
            f"sum(gateway_guard_tripped{{{ON}}})",
            steps=[(1, "red")],
            link=("Reduce-only runbook", "${docs}/runbooks/reduce-only.html"),
        ),
        number(
            "Kill state's age",
            f'max(control_state_age_seconds{{job="order_gateway",{ON}}})',
            unit="s",
            steps=[(0.5, "red")],
            text="Beyond 0.5 s there is no new risk, whatever the state says.",
        ),
        number("Feed complete", f"min(venue_feed_connected{{{ON}}})", names=NO_YES),
        number(
            "Flattening",
            f"max(gateway_flattening{{{ON}}})",
            names=(("no", "green"), ("yes", "orange")),
        ),
        number(
            "The matrix",
            colour,
            "{{row}}",
            width=24,
            names=names,
            text="Each row of the plan's matrix. Boundaries belong to yellow; UNKNOWN is too little"
            " data, and holds.",
        ),
        timeline(
            "Kill state over time",
            [
                (f"max by (instance) (gateway_kill_state{{{ON}}})", "effective, {{instance}}"),
                (f"max by (scope) (gateway_kill_scope_state{{{ON}}})", "{{scope}}"),
            ],
            KILL_STATES,
        ),
        timeline(
            "Guards over time",
            [(f"max by (guard) (gateway_guard_tripped{{{ON}}})", "{{guard}}")],
            (("quiet", "green"), ("tripped", "red")),
        ),
    ]


def _money() -> list[Panel]:
    return [
        number("Equity", f"sum(gateway_equity_usd{{{ON}}})", unit="currencyUSD"),
        number("Today", f"sum(gateway_daily_pnl_usd{{{ON}}})", unit="currencyUSD"),
        number(
            "Drawdown",
            f"max(gateway_drawdown_ratio{{{ON}}})",
            unit="percentunit",
            steps=[(0.01, "orange"), (0.02, "red")],
            text="Below the peak of equity; the limit is 2 %.",
        ),
        number(
            "Leverage",
            f"max(gateway_leverage_ratio{{{ON}}})",
            steps=[(3, "yellow"), (5, "red")],
        ),
        number(
            "Drift from the venue",
            f"max(gateway_pnl_drift_ratio{{{ON}}})",
            unit="percentunit",
            steps=[(0.001, "yellow"), (0.005, "red")],
        ),
        number(
            "Figures' age",
            f"max(gateway_figures_age_seconds{{{ON}}})",
            unit="s",
            steps=[(60, "red")],
            text="Of equity and exposure: what is old is not watched.",
        ),
        chart(
            "Equity over time",
            [(f"gateway_equity_usd{{{ON}}}", "{{instance}}")],
            unit="currencyUSD",
        ),
        chart(
            "Profit by kind",
            [(f"sum by (kind) (gateway_pnl_usd{{{ON}}})", "{{kind}}")],
            unit="currencyUSD",
            text="net = realized + unrealized - funding paid - fees.",
        ),
        chart(
            "Exposure",
            [(f"sum by (kind) (gateway_exposure_usd{{{ON}}})", "{{kind}}")],
            unit="currencyUSD",
        ),
        chart(
            "Drawdown over time",
            [(f"gateway_drawdown_ratio{{{ON}}}", "{{instance}}")],
            unit="percentunit",
            steps=[(0.01, "orange"), (0.02, "red")],
        ),
        chart(
            "Way to the nearest liquidation",
            [(f"clamp_max(gateway_liquidation_distance_ratio{{{ON}}}, 1)", "{{instance}}")],
            unit="percentunit",
            steps=[(0.15, "orange"), (0.2, "green")],
            base="red",
            text="1 where there is no position. Warning at 20 %, critical at 15 %.",
        ),
        chart(
            "Funding",
            [
                (
                    f"sum by (direction) (increase(gateway_funding_usd_total{{{ON}}}[1d]))",
                    "{{direction}}",
                ),
            ],
            unit="currencyUSD",
            text="Within a day.",
        ),
    ]


def _orders() -> list[Panel]:
    done = 'outcome=~"filled|rejected|expired|missing"'
    return [
        chart(
            "Orders by outcome",
            [(f"sum by (outcome) (rate(gateway_orders_total{{{ON}}}{RATE}))", "{{outcome}}")],
            unit="ops",
        ),
        chart(
            "Success rate",
            [
                (
                    (
                        f'sum(rate(gateway_orders_total{{outcome="filled",{ON}}}[15m]))'
                        f" / (sum(rate(gateway_orders_total{{{done},{ON}}}[15m])) > 0)"
                    ),
                    "filled of finished",
                ),
            ],
            unit="percentunit",
            steps=[(0.9, "yellow"), (0.95, "green")],
            base="red",
            text="Of the orders that ended, without those we cancelled. Green above 95 %.",
        ),
        bars(
            "Refusals by reason, one hour",
            [
                (
                    f"topk(10, sum by (reason) (increase(gateway_refusals_total{{{ON}}}[1h])))",
                    "{{reason}}",
                ),
            ],
        ),
    ]


def _order_details() -> list[Panel]:
    post_only = f"(sum(rate(gateway_post_only_orders_total{{{ON}}}[1h])) > 0)"
    n = f"(sum(rate(gateway_slippage_bps_count{{{ON}}}[15m])) > 0)"
    mean = " - ".join(
        f'sum(rate(gateway_slippage_bps_signed_total{{sign="{sign}",{ON}}}[15m]))'
        for sign in ("cost", "gain")
    )
    return [
        chart(
            "Order latency",
            [
                *quantiles(f"gateway_order_latency_seconds_bucket{{{ON}}}", "", "", (0.5, 0.95)),
                *quantiles(
                    f"gateway_journal_latency_seconds_bucket{{{ON}}}", "", "journal", (0.95,)
                ),
            ],
            unit="s",
            steps=[(0.1, "yellow"), (0.5, "red")],
            text="Checks, journal and venue.",
        ),
        chart(
            "Slippage, 15 minutes",
            [
                (f"({mean}) / {n}", "mean"),
                (f"sqrt(sum(rate(gateway_slippage_bps_square_total{{{ON}}}[15m])) / {n})", "RMSE"),
            ],
            unit="bps",
            steps=[(5, "yellow"), (10, "red")],
        ),
        chart(
            "Post-only orders rejected, one hour",
            [
                (
                    (
                        f'sum(rate(gateway_post_only_orders_total{{outcome="rejected",{ON}}}[1h]))'
                        f" / {post_only}"
                    ),
                    "share",
                ),
            ],
            unit="percentunit",
            steps=[(0.05, "yellow"), (0.1, "red")],
        ),
        chart(
            "Working orders and armed stops",
            [
                (f"sum(gateway_working_orders{{{ON}}})", "working orders"),
                (f"sum(gateway_stops_armed{{{ON}}})", "stops held here"),
            ],
        ),
        chart(
            "Stops set off",
            [
                (f"sum(increase(gateway_stop_triggers_total{{{ON}}}[5m]))", "set off"),
                (f"sum(increase(gateway_stop_retries_total{{{ON}}}[5m]))", "armed again"),
            ],
            text="One that is armed again three times within 5 minutes pages.",
        ),
        chart(
            "Defects and differences",
            [
                (f"sum(increase(gateway_order_defects_total{{{ON}}}[1h]))", "defects"),
                (
                    f"sum by (kind) (increase({_DIFFERENCES}{{{ON}}}[1h]))",
                    "{{kind}}",
                ),
            ],
            text="Within an hour. Any defect pages.",
        ),
    ]


def _venue() -> list[Panel]:
    return [
        chart(
            "Venue requests",
            [
                (
                    f"sum by (request, status) (rate(venue_requests_total{{{ON}}}{RATE}))",
                    "{{request}} {{status}}",
                ),
            ],
            unit="ops",
        ),
        chart(
            "Rate limit",
            [
                (f"min(venue_rate_limit_remaining{{{ON}}})", "remaining"),
                (f"max(venue_rate_limit{{{ON}}})", "limit"),
                (f"sum(increase(venue_rate_limited_total{{{ON}}}[5m]))", "429 within 5 min"),
            ],
        ),
        chart(
            "Waiting for a turn",
            quantiles(
                f"venue_request_wait_seconds_bucket{{{ON}}}", "priority", "{{priority}}", (0.95,)
            ),
            unit="s",
            steps=[(0.25, "red")],
        ),
        chart(
            "Feed",
            [
                (f"sum(increase(venue_feed_gaps_total{{{ON}}}[5m]))", "gaps within 5 min"),
                (f"sum(increase(venue_feed_reconnects_total{{{ON}}}[5m]))", "losses within 5 min"),
                (
                    f"sum by (channel) (rate(venue_feed_messages_total{{{ON}}}{RATE}))",
                    "{{channel}}",
                ),
            ],
        ),
    ]


def _storage() -> list[Panel]:
    return [
        chart(
            "SQL behind the journal",
            [
                (f"max(gateway_projector_backlog_age_seconds{{{ON}}})", "age of the oldest, s"),
                (f"sum(gateway_projector_backlog_records{{{ON}}})", "records"),
            ],
            steps=[(30, "orange")],
            text="Trading goes on without SQL; what it misses waits in the journal.",
        ),
        chart(
            "Since the last reconciliation",
            [(f"max by (what) (gateway_reconciliation_age_seconds{{{ON}}})", "{{what}}")],
            unit="s",
            steps=[(270, "red")],
        ),
        chart(
            "Watchdog",
            [
                (
                    f"max by (instance) (gateway_watchdog_age_seconds{{{ON}}})",
                    "last heard, {{instance}}",
                )
            ],
            unit="s",
            steps=[(10, "red")],
            text="Empty where no watchdog belongs to the gateway.",
        ),
        chart(
            "Journal",
            [(f"sum(rate(gateway_journal_records_total{{{ON}}}{RATE}))", "records per second")],
        ),
        chart("Journal's size", [(f"sum(gateway_journal_bytes{{{ON}}})", "bytes")], unit="bytes"),
    ]
