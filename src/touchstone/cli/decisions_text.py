"""What `touchstone decisions` prints for people."""

import datetime as dt
import json
from collections.abc import Mapping
from typing import Any, Final

from touchstone.rollout.decisions import CandidateRecord, DecisionRecord
from touchstone.rollout.decisions_replay import summary_of

NAMES_SHOWN: Final = 15


def lines_of_record(record: DecisionRecord | CandidateRecord) -> list[str]:
    """Return a record in lines: the first says what is most wanted."""
    at = dt.datetime.fromtimestamp(record.at, dt.UTC).isoformat(timespec="milliseconds")
    fill = "no fill" if record.fill is None else summary_of(record.fill)
    if isinstance(record, CandidateRecord):
        return [f"{record.id}  candidate L3: {record.error or fill}"]
    first = f"{record.id}  {at}  {record.symbol:<10} {record.arm} by {record.rule}: {fill}"
    assigned = f"assigned      {record.assigned_arm} by {record.assigned_rule}"
    return [
        first,
        f"  {assigned}, bucket {record.bucket}, generation {record.generation}",
        f"  account       {record.account or '-'}",
        f"  refusal       {record.refusal or '-'}",
        f"  inputs digest {record.inputs_digest}",
        f"  seeds         base {record.seed}, execution {record.execution_seed}",
        f"  config        {record.config_hash}, L3 {record.l3_config or '-'}",
        f"  build         {record.build}, L3 {record.l3_build or '-'}",
        f"  request       {record.request.decode(errors='replace')}",
        f"  fill          {json.dumps(record.fill)}",
    ]


def lines_of_report(report: Mapping[str, Any]) -> list[str]:
    """Return a replay's report in lines."""
    arms = ", ".join(f"{name} {count:,}" for name, count in report["answered_by"].items())
    first = (
        f"{report['decisions']:,} decisions ({arms or 'none'}) and "
        f"{report['candidates']:,} candidates: {report['identical']:,} byte for byte the same, "
        f"{report['different']:,} different"
    )
    lines = [first]
    lines += [f"  {rule:<24} {count:>9,}" for rule, count in report["rules"].items()]
    for name, what in (
        ("torn_lines", "unfinished last lines"),
        ("damaged_lines", "damaged lines"),
        ("candidates_without_decision", "candidates whose decision is not in the log"),
        ("candidates_of_other_models", "candidates of other models, not replayed"),
    ):
        if report[name]:
            lines.append(f"{what}: {report[name]:,}")
    lines += [f"  {text}" for text in report["first_damaged"]]
    for build, count in report["recorded_by_other_builds"].items():
        lines.append(f"recorded by another build: {build} ({count:,}); this is {report['build']}")
    for result in report["first_different"]:
        lines.append(f"{result['id']} ({result['kind']})")
        lines += [
            f"  {each['field']}: recorded {each['recorded']}, replayed {each['replayed']}"
            for each in result["differences"]
        ]
    return lines


def lines_of_what_if(document: Mapping[str, Any]) -> list[str]:
    """Return what a proposal would do in lines."""
    everything, moves, changes = document["decisions"], document["moves"], document["changes"]
    first = (
        f"{everything['orders']:,} decisions, notional {_money(everything['notional'])}; "
        f"{moves['orders']:,} move, notional {_money(moves['notional'])}"
    )
    lines = [first]
    if document["recorded_without_control_state"]:
        count = document["recorded_without_control_state"]
        lines.append(f"recorded while latched, stale or unknown: {count:,} (looked at as healthy)")
    lines += [
        f"  {way['from']} -> {way['to']}: {way['orders']:,} orders, {_money(way['notional'])}"
        for way in document["ways"]
    ]
    for name, key in (("symbols", "symbol"), ("accounts", "account")):
        found = document[name]
        lines += [
            f"  {key} {each[key]:<12} {each['moves']}: {each['orders']:,} orders, "
            f"{_money(each['notional'])}"
            for each in found[:NAMES_SHOWN]
        ]
        if len(found) > NAMES_SHOWN:
            lines.append(f"  and {len(found) - NAMES_SHOWN} more {name}; --json has all")
    lines += _change_lines(changes)
    lines += [f"not possible: {why} ({n:,})" for why, n in document["not_possible"].items()]
    return lines


def _change_lines(changes: Mapping[str, Any]) -> list[str]:
    recorded, proposed = changes["recorded"], changes["proposed"]
    lines = [
        f"{changes['executed_again']:,} executed again, {changes['fills_that_differ']:,} fills "
        "differ" + "".join(f"; L3 refuses {n:,}: {c}" for c, n in changes["l3_refusals"].items()),
        f"  {'':<22}{'recorded':>18}{'proposed':>18}",
    ]
    for name, key in (
        ("filled notional", "filled_notional"),
        ("slippage cost", "slippage_cost"),
        ("fees", "fees"),
    ):
        lines.append(f"  {name:<22}{_money(recorded[key]):>18}{_money(proposed[key]):>18}")
    for name, key in (("slippage, bps", "slippage_bps"), ("filled share", "fill_rate")):
        lines.append(f"  {name:<22}{_figure(recorded[key]):>18}{_figure(proposed[key]):>18}")
    mean = changes["mean_slippage_difference_bps"]
    lines.append(
        f"  mean slippage difference {_figure(mean)} bps over {changes['both_filled']:,} orders "
        "that both sides fill"
    )
    if changes["worst"]:
        lines.append("  worst cases, by the difference in slippage and fees:")
    lines += [
        f"    {case['id']}  {case['symbol']} {case['side']} {case['quantity']} {case['moves']}: "
        f"{case['recorded']} -> {case['proposed']} ({_money(case['cost_difference'])})"
        for case in changes["worst"][:NAMES_SHOWN]
    ]
    return lines


def _money(text: str) -> str:
    return f"{float(text):,.2f}"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:,.4f}"
