"""The plan's success criteria, each held to what was recorded: events, orders, fills, money."""

import math
import statistics
from collections import Counter
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from touchstone.cli.rehearsal.lines import Phase
from touchstone.cli.rehearsal.records import Records, logged_errors
from touchstone.cli.rehearsal.verdicts import Findings

OK: Final = 200
CRITERION: Final = "criterion"
DRIFT_MAX: Final = 0.001
ACCEPTED_MIN: Final = 0.80
POST_ONLY_REJECTED_MAX: Final = 0.10
DRAWDOWN_MAX: Final = 0.02
SHARE_HELD: Final = 0.95
DEMO_NOTIONAL: Final = (100, 500)
CENT: Final = Decimal("0.01")
FAMILIES: Final = (
    "gateway_orders_total",
    "gateway_slippage_bps_bucket",
    "gateway_pnl_usd",
    "gateway_kill_state",
    "gateway_go_no_go",
    "venue_requests_total",
)
"""What the dashboards show first."""
_HOUR_NS: Final = 3_600_000_000_000

Json = dict[str, Any]


def dry_run(findings: Findings, records: Records, code: int, orders_at_venue: int) -> None:
    """Hold the printed line to its --dry-run: decisions are made, nothing reaches the venue."""
    accepted, rejected = records.count("entry_accepted"), records.count("entry_rejected")
    findings.add(
        CRITERION,
        "The printed line runs, and --dry-run sends nothing",
        code == 0 and orders_at_venue == 0 and accepted + rejected > 0,
        f"{accepted} entries decided, {rejected} rejected, {orders_at_venue} orders at the venue, "
        f"exit code {code}",
    )


def sandbox(findings: Findings, records: Records, phase: Phase) -> None:
    """Hold the first phase to its criteria."""
    held = {one.name[0]: one.held for one in findings.found if one.kind == "test"}
    for name, tests in (
        ("All order types place successfully", "123"),
        ("Post-only rejects crossing orders", "2"),
        ("Cancel/replace maintains idempotency", "4"),
    ):
        text = f"test{'s' if len(tests) > 1 else ''} {', '.join(tests)}"
        findings.add(CRITERION, name, all(held.get(test, False) for test in tests), text)
    filters(findings, records, phase)


def filters(findings: Findings, records: Records, phase: Phase) -> None:
    """Hold every entry to the line's filters, and count what they kept out."""
    entries = list(records.payloads("entry_accepted"))
    spreads = [float(entry["market"]["spread_bps"]) for entry in entries]
    reasons = Counter(
        reason for one in records.payloads("entry_rejected") for reason in one["reasons"]
    )
    widest = max(spreads, default=0.0)
    told = ", ".join(f"{name} {count}" for name, count in reasons.most_common(5))
    findings.add(
        CRITERION,
        "Entries only within the filters",
        bool(entries) and widest <= phase.max_spread_bps,
        f"{len(entries)} entries, widest spread {widest:.2f} bps of {phase.max_spread_bps:g}; "
        f"kept out: {told or 'nothing'}",
    )


def metrics_kept(
    findings: Findings, records: Records, hours: float, speed: float, scraped: str
) -> None:
    """Hold the metrics to their interval, the bot's name in each, and the families to be there."""
    times = [row[0] for row in records.rows("SELECT ts_event_ns FROM events WHERE type='metrics'")]
    gaps = [(after - before) / 1e9 for before, after in pairwise(sorted(times))]
    # The figures are gathered twenty times a second of ours, which is `speed` seconds of its.
    allowed = 120 + speed
    usual = statistics.median(gaps) if gaps else math.inf
    bots = records.bot_ids()
    missing = [name for name in FAMILIES if name not in scraped]
    findings.add(
        CRITERION,
        "Metrics properly logged to EventStore",
        len(bots) == 1 and usual <= allowed and not missing,
        f"{len(times)} records in {hours:g} h, one each {usual:.0f} s, bot_id {', '.join(bots)}; "
        f"/metrics {'complete' if not missing else 'without ' + ', '.join(missing)}",
    )


def no_errors(
    findings: Findings, records: Records, log: Path, code: int, *, hours: float, whole: Json
) -> None:
    """Hold the run to having had no unexpected error, here or at the venue."""
    defects, logged = records.defects(), logged_errors(log)
    trips = [one["guard"] for one in records.payloads("risk_guard") if one["level"] == "TRIPPED"]
    failed = [one for one in records.payloads("order_outcome") if one.get("error")]
    told = [f"{name} {count}" for name, count in defects.items()] + trips[:3] + logged[:3]
    nothing = not (defects or logged or trips or failed)
    held = nothing and code == 0 and bool(whole["conserved"])
    findings.add(
        CRITERION,
        f"No unexpected errors in {hours:g} h",
        held,
        f"{len(defects)} kinds of defects, {len(logged)} errors logged, {len(failed)} orders "
        f"failed, {len(trips)} guards tripped, exit code {code}"
        + (f": {'; '.join(told)}" if told else ""),
    )


def demo(findings: Findings, records: Records, phase: Phase, venue: Json) -> None:
    """Hold the second phase to its tests and criteria."""
    _entries_of_size(findings, records)
    _makers(findings, records)
    _stops(findings, records)
    _open_and_close(findings, records)
    _pnl(findings, records, venue)
    _funding(findings, records, venue)
    _slippage(findings, records, phase)
    filters(findings, records, phase)


def canary(findings: Findings, records: Records, phase: Phase, changes: int) -> None:
    """Hold the third phase to what the plan monitors, and to its criteria of expansion."""
    outcomes = list(records.payloads("order_outcome"))
    rejected = records.orders().get("rejected", 0)
    sent = sum(bool(one["sent"]) for one in outcomes)
    share = 1 - rejected / sent if sent else 0.0
    findings.add(
        CRITERION, "Order acceptance rate > 80 %", share > ACCEPTED_MIN, f"{share:.1%} of {sent}"
    )
    posted = [one for one in outcomes if one["post_only"]]
    crossed = sum(bool(one["crossed"]) for one in posted)
    findings.add(
        CRITERION,
        "Post-only rejection rate < 10 %",
        crossed <= POST_ONLY_REJECTED_MAX * len(posted),
        f"{crossed} of {len(posted)}" if posted else "none sent: the line's entries are at market",
    )
    _slippage(findings, records, phase)
    days = records.rows("SELECT day, equity_close FROM daily_metrics ORDER BY day")
    findings.add(
        CRITERION,
        "Daily PnL tracking",
        bool(days),
        ", ".join(f"{day}: equity {Decimal(str(equity)):,.2f}" for day, equity in days),
    )
    _drawdown(findings, records)
    findings.add(
        CRITERION,
        "No manual interventions required",
        changes == 0,
        f"{changes} changes of the kill switch",
    )
    filters(findings, records, phase)


def _entries_of_size(findings: Findings, records: Records) -> None:
    low, high = DEMO_NOTIONAL
    sizes = [
        float(one["quantity"]) * float(one["market"]["mark"])
        for one in records.payloads("entry_accepted")
    ]
    text = f"{min(sizes):.2f} to {max(sizes):.2f} USD" if sizes else "none"
    findings.add(
        "test",
        "1. Real entries with $100-500 notional",
        bool(sizes) and all(low <= one <= high for one in sizes),
        f"{len(sizes)} entries of {text}",
    )


def _makers(findings: Findings, records: Records) -> None:
    rows = records.rows(
        "SELECT f.liquidity, COUNT(*) FROM fills f JOIN orders o "
        "ON o.client_order_id = f.client_order_id WHERE o.post_only GROUP BY f.liquidity"
    )
    kinds = {str(kind).upper(): count for kind, count in rows}
    findings.add(
        "test",
        "2. Post-only maker orders",
        set(kinds) == {"MAKER"},
        ", ".join(f"{count} fills as {kind.lower()}" for kind, count in kinds.items()) or "none",
    )


def _stops(findings: Findings, records: Records) -> None:
    placed = records.rows("SELECT status FROM orders WHERE type = 'STOP_LIMIT' AND reduce_only")
    bad = [status for (status,) in placed if status in ("rejected", "refused", "missing")]
    findings.add(
        "test",
        "3. Stop-loss placement (far from market)",
        bool(placed) and not bad,
        f"{len(placed)} protective stops, 2 % away, {len(bad)} of them not taken",
    )


def _open_and_close(findings: Findings, records: Records) -> None:
    query = "SELECT reduce_only, COUNT(*) FROM orders WHERE filled_quantity != '0' GROUP BY 1"
    filled = {bool(reducing): count for reducing, count in records.rows(query)}
    opened, closed = filled.get(False, 0), filled.get(True, 0)
    adopted = records.count("position_adopted")
    findings.add(
        CRITERION,
        "Positions open/close correctly",
        opened > 0 and closed > 0 and adopted == 0,
        f"{opened} orders opened, {closed} closed, {adopted} differences with the venue",
    )


def _pnl(findings: Findings, records: Records, venue: Json) -> None:
    """Compare our sums with the exchange's own book value of the account, to the last place."""
    drifts = [abs(float(one["drift"])) for one in records.payloads("pnl_drift")]
    ours = sum(records.totals("realized_pnl").values(), Decimal(0))
    ours -= sum(records.totals("fees").values(), Decimal(0))
    ours -= sum(records.totals("funding_paid").values(), Decimal(0))
    ours -= sum(records.totals("cost").values(), Decimal(0))
    theirs = Decimal(venue["book_value"]) - Decimal(venue["deposits"])
    worst = max(drifts, default=math.inf)
    findings.add(
        CRITERION,
        "4. PnL tracking matches exchange",
        worst < DRIFT_MAX and abs(ours - theirs) < CENT,
        f"{len(drifts)} comparisons, worst drift {worst:.4%}; profit without open positions: ours "
        f"{ours:.4f}, the exchange's {theirs:.4f} USD",
    )


def _funding(findings: Findings, records: Records, venue: Json) -> None:
    rows = records.rows("SELECT funding_time_ns, amount FROM funding_payments")
    times = [int(time_ns) for time_ns, _ in rows]
    booked = sum((Decimal(str(amount)) for _, amount in rows), Decimal(0))
    # Where the position was 0 at the full hour the exchange has no payment.
    theirs = [one for one in venue["funding"] if one["lots"]]
    paid = sum((Decimal(one["paid"]) for one in theirs), Decimal(0))
    on_time = all(time_ns % _HOUR_NS == 0 for time_ns in times)
    findings.add(
        CRITERION,
        "5. Funding accrues at correct intervals",
        bool(theirs) and on_time and len(times) >= len(theirs) and abs(booked - paid) < CENT,
        f"{len(theirs)} payments of the exchange come to {paid:f} USD; booked at full hours: "
        f"{booked:f} USD",
    )


def _slippage(findings: Findings, records: Records, phase: Phase) -> None:
    """Hold 95 % of all orders to the limit, and every resting entry.

    On the accelerated clock the market moves for tens of seconds while an order is on its way: the
    tail of market orders is the speed's, not the gateway's.
    """
    values = sorted(
        float(one["slippage_bps"])
        for one in records.payloads("order_outcome")
        if one.get("slippage_bps") is not None
    )
    resting = [
        float(one["slippage_bps"])
        for one in records.payloads("order_outcome")
        if one.get("slippage_bps") is not None and one["post_only"]
    ]
    limit = phase.max_slippage_bps
    usual = values[math.ceil(len(values) * SHARE_HELD) - 1] if values else math.nan
    findings.add(
        CRITERION,
        f"No slippage beyond {limit:g} bps",
        bool(values) and usual <= limit and all(value <= limit for value in resting),
        f"{len(values)} orders, mean {statistics.fmean(values or [math.nan]):.2f}, 95 % within "
        f"{usual:.2f}, worst {max(values, default=math.nan):.2f} bps"
        + (f"; {len(resting)} resting entries, worst {max(resting):.2f}" if resting else ""),
    )


def _drawdown(findings: Findings, records: Records) -> None:
    peak = worst = 0.0
    for one in records.payloads("metrics"):
        equity = float(one["pnl"].get("equity") or "nan")
        if math.isnan(equity):
            continue
        peak = max(peak, equity)
        worst = max(worst, 1 - equity / peak)
    text = f"{worst:.4%} of the peak {peak:,.2f}"
    findings.add(CRITERION, "Max drawdown < 2 %", peak > 0 and worst < DRAWDOWN_MAX, text)
