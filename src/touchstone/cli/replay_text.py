"""What `touchstone replay` says to a person."""

from collections.abc import Callable
from itertools import zip_longest
from typing import Any

from touchstone.cli.console import out

MISMATCHES_SHOWN = 3

Line = Callable[[str, object], None]


def show(document: dict[str, Any]) -> None:
    """Print the document of a replay on stdout, a line for each thing it says."""
    _show_file(document)
    for name in ("best_bid", "best_ask"):
        level = document[name]
        shown = "none"
        if level is not None:
            shown = f"{level['quantity_lots']:,} @ {level['price_ticks']:,} ticks"
            shown += f" in {level['order_count']:,} orders"
        _line(name.replace("_", " "), shown)
    _line("resting orders", f"{document['resting_orders']:,}")
    comparison = document["comparison"]
    if comparison is not None:
        if "first_differences" in comparison:
            _show_depth(comparison)
        else:
            _show_lobster(comparison)
    rate = document["messages_per_second"]
    _line("time", f"{document['seconds']} s, {rate:,} messages/s" if rate else "0 s")
    _line("state hash", document["state_hash"])


def _show_file(document: dict[str, Any]) -> None:
    _line(
        "file",
        f"{document['file']} ({document['format']}, {document['symbol']}, tick "
        f"{document['tick_size']}, lot {document['lot_size']})",
    )
    _line("messages", f"{document['messages']:,} ({_counts(document['by_type'])})")
    _line("not used", _counts(document["unusable"]))
    if document.get("first_unusable_lines"):
        _line("  first at lines", ", ".join(map(str, document["first_unusable_lines"])))
    for reason, position in sorted(document.get("first_unusable", {}).items()):
        _line("  first at", f"{position:,}: {reason}")
    if "refused" in document:
        _line("refused by the book", _counts(document["refused"]))
        for reason, positions in sorted(document["first_refused"].items()):
            _line("  first at", f"{', '.join(map(str, positions[:5]))}: {reason}")
    gaps = document["gaps"]
    if "by_action" in document or gaps["count"]:
        _line("gaps", f"{gaps['count']:,}")
    for gap in gaps["first"][:MISMATCHES_SHOWN]:
        _line("  gap", f"at {gap['position']:,}: {gap['found']} after {gap['expected'] - 1}")
    _line("resting before", f"{document['initial_orders']:,} orders")
    crossed = document["crossed"]
    where = f", first at lines {crossed['first_lines']}" if crossed["messages"] else ""
    _line("crossed after", f"{crossed['messages']:,} messages{where}")


def _line(name: str, value: object) -> None:
    out.print(f"{name:<20} {value}", markup=False, soft_wrap=True)


def _counts(values: dict[str, int]) -> str:
    return ", ".join(f"{key} {count:,}" for key, count in sorted(values.items())) or "none"


def _show_depth(comparison: dict[str, Any]) -> None:
    _line(
        "agreement",
        f"{comparison['agreeing']:,} of {comparison['rows']:,} records at depth"
        f" {comparison['depth']}",
    )
    if comparison["agreeing"] != comparison["rows"]:
        _line("  in part", _to_levels(comparison))
    _line(
        "  not compared",
        f"{comparison['within_events']:,} within events, {comparison['before_feed']:,} before the"
        f" first message, {comparison['after_feed']:,} after the last",
    )
    _line(
        "  of no event",
        f"{comparison['without_event']:,} records{_first(comparison, 'without_event')}",
    )
    _line(
        "  without a record",
        f"{comparison['unannounced']:,} events{_first(comparison, 'unannounced')}",
    )
    if comparison["unusable"]:
        _line("  not used", _counts(comparison["unusable"]))
    for each in comparison["first_differences"][:MISMATCHES_SHOWN]:
        venue, ours = _order_level(each["theirs"]), _order_level(each["ours"])
        _line(
            "  difference",
            f"at {each['position']:,}, record {each['depth_position']:,}: {each['side']}"
            f" {each['level']}: venue {venue}, ours {ours}",
        )


def _to_levels(comparison: dict[str, Any]) -> str:
    """Return how many rows agree down to each level."""
    to_level = comparison["agreeing_to_level"]
    return ", ".join(f"{count:,} to level {at}" for at, count in enumerate(to_level, start=1))


def _first(comparison: dict[str, Any], what: str) -> str:
    positions = comparison[f"first_{what}"][:MISMATCHES_SHOWN]
    return f", first at {', '.join(f'{at:,}' for at in positions)}" if positions else ""


def _order_level(level: tuple[int, int, int] | None) -> str:
    if level is None:
        return "nothing"
    return f"{level[1]:,} @ {level[0]:,} in {level[2]:,} orders"


def _show_lobster(comparison: dict[str, Any]) -> None:
    _line(
        "agreement",
        f"{comparison['agreeing']:,} of {comparison['rows']:,} rows at depth"
        f" {comparison['depth']}, {comparison['missing']:,} rows missing",
    )
    if comparison["agreeing"] != comparison["rows"]:
        _line("  in part", _to_levels(comparison))
    for stale in comparison["stale_orders"]:
        _line(
            "  stale order",
            f"{stale['order_id']} {stale['side']} {stale['quantity_lots']:,} @"
            f" {stale['price_ticks']:,}: added at line {stale['added_line']}, once on level"
            f" {stale['furthest_level']}; gone by line {stale['found_line']} (row {stale['row']}),"
            f" where the venue's touch is {stale['venue_touch_ticks']:,}",
        )
    unnamed = comparison["stale_order_count"] - len(comparison["stale_orders"])
    if unnamed:
        _line("  stale orders", f"{unnamed:,} more")
    for mismatch in comparison["first_mismatches"][:MISMATCHES_SHOWN]:
        _line(
            "  mismatch",
            f"line {mismatch['line']}, row {mismatch['row']}: {_differing(mismatch)}"
            f"{' (expected)' if mismatch['out_of_sight'] else ''}",
        )
    differing = comparison["rows"] - comparison["agreeing"]
    if differing:
        unseen = comparison["out_of_sight"]
        _line(
            "  expected",
            f"{unseen:,} of the {differing:,} rows that differ: only at prices that had been "
            "further out than the file's last level, where it has no messages",
        )
        _line("  not expected", f"{differing - unseen:,} rows: the book is wrong, or the file is")


def _differing(mismatch: dict[str, Any]) -> str:
    """Return the best level on which venue and rebuilt book differ."""
    for side, venue, ours in zip(("bid", "ask"), mismatch["venue"], mismatch["ours"], strict=True):
        for number, (there, here) in enumerate(zip_longest(venue, ours), start=1):
            if there != here:
                return f"{side} {number}: venue {_lots_at(there)}, ours {_lots_at(here)}"
    return "no level differs"


def _lots_at(level: tuple[int, int] | None) -> str:
    return "nothing" if level is None else f"{level[1]:,} @ {level[0]:,}"
