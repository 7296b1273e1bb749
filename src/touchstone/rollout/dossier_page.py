"""A dossier as one HTML page that needs nothing else: inline style and SVG, no script, no link.

Every text that came from outside (symbols, reasons, names) is escaped.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any, Final

from touchstone.pages import page, table
from touchstone.rollout.dossier import JUDGE_ACTOR
from touchstone.rollout.dossier_plots import evidence_plot, orders_plot, window_plot

_STYLE: Final = """
.band{fill:var(--blue);opacity:.18}.mean{fill:none;stroke:var(--blue);stroke-width:2}
.harm{stroke:var(--bad);stroke-dasharray:5 3}.margin{stroke:var(--good);stroke-dasharray:5 3}
.all{fill:var(--grey)}.over{fill:var(--bad)}.order{fill:var(--blue);opacity:.6}
.failed{stroke:var(--bad);stroke-width:1.5;fill:none}
"""


def dossier_page(dossier: Mapping[str, Any]) -> str:
    """Return the page of a dossier document."""
    rollback = dossier["rollback"]
    generation = rollback["generation"]
    title = f"Rollback {dossier['id']}"
    kept = (
        f"generation {generation}"
        if generation is not None
        else "held by this router; Redis did not have it when this was written"
    )
    sections = [
        f"<h1>{escape(title)}</h1>",
        (
            f'<p><span class="bad">{escape(dossier["kind"])}</span> rollback to L2 at '
            f"{_time(rollback['at'])} by {escape(rollback['actor'])}, {escape(kept)}</p>"
        ),
        f"<p>{escape(rollback['reason'])}</p>",
        (
            f'<p class="soft">As seen by {escape(dossier["router"])}, '
            f"written at {_time(dossier['written_at'])}.</p>"
        ),
        *_trigger_section(dossier),
        *_evidence_section(dossier["evidence"]),
        *_orders_section(dossier["orders"]),
        *_pairs_section(dossier["worst_pairs"]),
        *_flags_section(dossier["flags"]),
        *_timeline_section(dossier),
    ]
    return page(title, sections, style=_STYLE)


def _trigger_section(dossier: Mapping[str, Any]) -> list[str]:
    found = dossier["trigger"]
    parts = ["<h2>Triggers</h2>"]
    if found is None:
        judged = dossier["rollback"]["actor"] == JUDGE_ACTOR
        who = "the judge proved harm, as its evidence below shows" if judged else "a person did"
        parts.append(f"<p>No trigger rolled back: {who}.</p>")
    else:
        parts.append(
            f'<p><span class="bad">{escape(found["trigger"])}</span>: '
            f"{_share(found['value_share'])} of {found['samples']} executions above the limit of "
            f"{found['limit']:g}; tolerated {_share(found['tolerated_share'])} of at least "
            f"{found['minimum']}.</p>"
        )
        for window in dossier["windows"]:
            if window["trigger"] == found["trigger"]:
                plot = window_plot(window["slots"], window["slot_seconds"], window["trigger"])
                parts.append(plot or "<p>Its window is empty here.</p>")
    parts.append(
        table(
            ("Trigger", "Window", "#Samples", "#Above", "#Share", "#Tolerated", "Tripped"),
            [
                (
                    row["text"],
                    f"{row['window_seconds']:g} s",
                    row["samples"],
                    row["over"],
                    _share(row["share"]),
                    _share(row["share_max"]),
                    "yes" if row["tripped"] else "no",
                )
                for row in dossier["readings"]
            ],
        )
    )
    return parts


def _evidence_section(evidence: Mapping[str, Any]) -> list[str]:
    verdict, config = evidence["verdict"], evidence["config"]
    plot = evidence_plot(evidence["curve"], config["harm_bps"], config["margin_bps"])
    return [
        "<h2>Evidence of the shadow comparison</h2>",
        (
            f"<p>{escape(verdict['outcome'])}: {escape(verdict['reason'])} "
            f"({verdict['blocks']} symbol-minutes, {verdict['orders']} orders).</p>"
        ),
        plot or '<p class="soft">No symbol-minute was compared in this router.</p>',
    ]


def _orders_section(orders: Mapping[str, Any]) -> list[str]:
    symbols = ", ".join(orders["symbols"][:20]) or "none"
    return [
        "<h2>Affected orders</h2>",
        (
            f"<p>{orders['count']} answered by L3 through this router before the rollback, "
            f"{orders['failed']} of them failed there and were answered by L2. "
            f"Symbols: {escape(symbols)}.</p>"
        ),
        orders_plot(orders["shown"], orders["count"]) or "",
        table(
            ("Time", "Decision", "Symbol", "Side", "#Quantity", "#Slippage bps", "#ms", "Error"),
            [
                (
                    _time(row["at"]),
                    row["decision_id"],
                    row["symbol"],
                    row["side"],
                    row["quantity"],
                    _number(row["slippage_bps"]),
                    _number(row["seconds"] * 1000),
                    row["error"] or "",
                )
                for row in orders["shown"][:50]
            ],
        ),
    ]


def _pairs_section(pairs: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        "<h2>Worst pairs of the shadow comparison</h2>",
        table(
            (
                "Time",
                "Decision",
                "Symbol",
                "Side",
                "#Quantity",
                "#L2 bps",
                "#L3 bps",
                "#Difference",
            ),
            [
                (
                    _time(row["at"]),
                    row["decision_id"],
                    row["symbol"],
                    row["side"],
                    row["quantity"],
                    _number(row["control_bps"]),
                    _number(row["candidate_bps"]),
                    _number(row["difference_bps"]),
                )
                for row in pairs
            ],
        ),
    ]


def _flags_section(flags: Mapping[str, Any]) -> list[str]:
    return [
        "<h2>What it changed</h2>",
        table(
            ("Flag", "Before", "After"),
            [(row["key"], _value(row["before"]), _value(row["after"])) for row in flags["diff"]],
        ),
    ]


def _timeline_section(dossier: Mapping[str, Any]) -> list[str]:
    why = dossier["timeline_incomplete"]
    missing = f'<p class="bad">The audit could not be read: {escape(why)}</p>' if why else ""
    return [
        "<h2>Timeline</h2>",
        missing,
        table(
            ("Time", "#Generation", "What", "Who", "Why"),
            [
                (
                    _time(row["at"]),
                    "" if row["generation"] is None else row["generation"],
                    row["what"],
                    row["actor"],
                    row["reason"],
                )
                for row in dossier["timeline"]
            ],
        ),
    ]


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.strftime("%Y-%m-%d %H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value * 100:.2f} %"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _value(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(str(part) for part in value) or "-"
    return "-" if value is None else str(value)
