"""Kill states: strictest wins, what each permits, and the one way back."""

from itertools import product

import pytest

from touchstone.perps.kill import (
    Action,
    TradingState,
    is_loosening,
    parse_state,
    permits,
    strictest,
    why_not,
)

A, R, C, H = TradingState


@pytest.mark.parametrize(
    ("state", "permitted"),
    [
        (A, {Action.INCREASE, Action.REDUCE, Action.CANCEL}),
        (R, {Action.REDUCE, Action.CANCEL}),
        (C, {Action.CANCEL}),
        (H, {Action.CANCEL}),
    ],
)
def test_what_each_state_permits(state: TradingState, permitted: set[Action]) -> None:
    """Every state permits exactly what its row says."""
    assert {action for action in Action if permits(state, action)} == permitted


def test_missing_and_unknown_names_are_halted() -> None:
    """Nothing at all, or a word that is not ours, is the strictest state."""
    assert strictest([]) is H
    assert parse_state("PAUSED") is H
    assert parse_state("ACTIVE") is A


@pytest.mark.parametrize(("one", "other"), list(product(TradingState, repeat=2)))
def test_the_strictest_wins(one: TradingState, other: TradingState) -> None:
    """The strictest of two permits nothing that either of them forbids."""
    found = strictest([one, other])
    for action in Action:
        assert permits(found, action) == (permits(one, action) and permits(other, action))


@pytest.mark.parametrize(("present", "wanted"), list(product(TradingState, repeat=2)))
def test_tightening_is_free_and_only_reduce_only_leads_to_active(
    present: TradingState, wanted: TradingState
) -> None:
    """Tightening needs nothing; loosening needs a reason and goes through REDUCE_ONLY."""
    if not is_loosening(present, wanted):
        assert why_not(present, wanted, "") == ""
        return
    assert "needs a reason" in why_not(present, wanted, " ")
    allowed = why_not(present, wanted, "because") == ""
    assert allowed == (wanted is not A or present is R)
