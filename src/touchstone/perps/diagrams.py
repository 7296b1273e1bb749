"""The tables of this package as Markdown, so that the docs are drawn from what runs."""

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


def _markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"
