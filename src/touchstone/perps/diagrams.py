"""The tables of this package as Markdown and Mermaid, so that the docs are drawn from what runs."""

from touchstone.perps.kill import LOOSENING, PERMITTED, Action, TradingState
from touchstone.perps.orders import TRANSITIONS, OrderEvent, OrderState


def order_table() -> str:
    """Return the order state table: a row per state, a column per event, '' for a defect."""
    header = ["state", *(event.value for event in OrderEvent)]
    rows = [
        [f"**{state.value}**" if state.is_terminal else state.value]
        + [
            TRANSITIONS[state][event].value if event in TRANSITIONS[state] else ""
            for event in OrderEvent
        ]
        for state in OrderState
    ]
    return _markdown(header, rows)


def kill_table() -> str:
    """Return what each trading state permits and to what it may be loosened."""
    rows = [
        [
            state.value,
            *("yes" if action in PERMITTED[state] else "no" for action in Action),
            ", ".join(sorted(LOOSENING[state])) or "(nothing is looser)",
        ]
        for state in TradingState
    ]
    return _markdown(["state", "new risk", "reducing orders", "cancels", "may loosen to"], rows)


def order_mermaid() -> str:
    """Return the ways of an order as Mermaid text: one arrow for all events that lead the same way.

    Events that leave the state as it is are in the table alone.
    """
    lines = ["stateDiagram-v2", f"    [*] --> {OrderState.PENDING_SUBMIT}"]
    for before, row in TRANSITIONS.items():
        ways: dict[OrderState, list[str]] = {}
        for event, after in row.items():
            if after is not before:
                ways.setdefault(after, []).append(event.value)
        lines += [f"    {before} --> {after}: {', '.join(ways[after])}" for after in ways]
    return "\n".join(lines)


def kill_mermaid() -> str:
    """Return how trading states change as Mermaid text: any tightening, a few ways to loosen."""
    lines = ["stateDiagram-v2", f"    [*] --> {TradingState.ACTIVE}: paper exchange"]
    lines.append(f"    [*] --> {TradingState.REDUCE_ONLY}: any other venue")
    states = list(TradingState)
    for number, state in enumerate(states):
        lines += [f"    {state} --> {stricter}: one call" for stricter in states[number + 1 :]]
        lines += [
            f"    {state} --> {looser}: reason, generation" for looser in sorted(LOOSENING[state])
        ]
    return "\n".join(lines)


def _markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"
