"""The rollout document and its table of phases."""

import itertools
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lob.errors import Conflict, InvalidInput
from touchstone.rollout.assignment import Arm, RoutingConfig, assign
from touchstone.rollout.state import (
    BASIS_POINTS,
    LIVE_PHASES,
    REARM_PHASES,
    TRANSITIONS,
    Phase,
    RolloutDocument,
    basis_points_from_fraction,
    change,
    fraction_from_basis_points,
    loosens,
)

FORWARD = (Phase.OFF, Phase.SHADOW, Phase.CANARY, Phase.EXPANSION, Phase.FULL)


def document(phase: Phase, **more: Any) -> RolloutDocument:
    """Return a document whose share the phase allows."""
    return RolloutDocument(phase=phase, basis_points=BASIS_POINTS[phase][1], **more)


def test_every_phase_has_a_row() -> None:
    """Both tables are total."""
    assert set(TRANSITIONS) == set(BASIS_POINTS) == set(Phase)


@pytest.mark.parametrize(("before", "after"), list(itertools.product(Phase, Phase)))
def test_a_transition_is_allowed_exactly_as_the_table_says(before: Phase, after: Phase) -> None:
    """One step forward, any way back, into a rollback from anywhere, out of it never."""
    if before is Phase.ROLLED_BACK:
        expected = False
    elif after is Phase.ROLLED_BACK:
        expected = True
    else:
        expected = FORWARD.index(after) <= FORWARD.index(before) + 1
    assert expected == (after in TRANSITIONS[before])
    changes = {"phase": after.value, "basis_points": BASIS_POINTS[after][1]}
    if expected:
        assert change(document(before), changes) == document(after)
    else:
        with pytest.raises(Conflict, match="allowed from here"):
            change(document(before), changes)


@pytest.mark.parametrize("phase", sorted(set(Phase) - {Phase.ROLLED_BACK}))
def test_the_salt_is_fixed_while_l3_may_answer(phase: Phase) -> None:
    """A new salt would move symbols to and fro in the middle of a ramp."""
    if phase in LIVE_PHASES:
        with pytest.raises(Conflict, match="salt"):
            change(document(phase), {"salt": "other"})
    else:
        assert change(document(phase), {"salt": "other"}).salt == "other"


def test_full_brings_its_share_along() -> None:
    """There is only one, so it need not be said; any other is refused."""
    expansion = RolloutDocument(phase=Phase.EXPANSION, basis_points=7_500)
    assert change(expansion, {"phase": "FULL"}).basis_points == 10_000
    with pytest.raises(InvalidInput, match="allowed in phase FULL"):
        change(expansion, {"phase": "FULL", "basis_points": 9_000})


def test_a_rearm_leads_to_no_phase_in_which_l3_answers() -> None:
    """Leaving a rollback is not a promotion."""
    assert not LIVE_PHASES & set(REARM_PHASES)


@given(st.integers(0, 10_000))
def test_fraction_and_basis_points_are_each_others_inverse(points: int) -> None:
    """Exactly so, whether the fraction is a Decimal, a text or a float."""
    fraction = fraction_from_basis_points(points)
    assert basis_points_from_fraction(fraction) == points
    assert basis_points_from_fraction(str(fraction)) == points
    assert basis_points_from_fraction(float(fraction)) == points


@pytest.mark.parametrize(
    "wrong", [-0.01, 1.0001, float("nan"), float("inf"), "five", "", True, None, Decimal("0.00005")]
)
def test_what_is_no_share_is_refused(wrong: Any) -> None:
    """Nothing is rounded, clamped or guessed."""
    with pytest.raises(InvalidInput, match="percentage"):
        basis_points_from_fraction(wrong)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({}, "phase: missing"),
        ({"phase": "canary"}, "phase: 'canary'; allowed: OFF"),
        ({"phase": "OFF", "percent": 1}, "percent: no such key"),
        ({"phase": "OFF", "basis_points": 10_001}, "basis_points: 10001"),
        ({"phase": "OFF", "basis_points": True}, "basis_points: True"),
        ({"phase": "OFF", "basis_points": 5.0}, "basis_points: 5.0"),
        ({"phase": "CANARY", "basis_points": 2_500}, "allowed in phase CANARY: 0..2499"),
        ({"phase": "FULL", "basis_points": 9_999}, "allowed in phase FULL: 10000..10000"),
        ({"phase": "OFF", "salt": " "}, "salt"),
        ({"phase": "OFF", "canary_symbols": "AAPL"}, "canary_symbols: 'AAPL'"),
        ({"phase": "OFF", "deny_accounts": [""]}, "deny_accounts\\[0\\]"),
        ({"phase": "OFF", "deny_symbols": ["a\nb"]}, "printable"),
        ({"phase": "OFF", "deny_symbols": ["x"] * 1_001}, "1001 entries"),
    ],
)
def test_a_wrong_document_names_field_value_and_what_is_allowed(
    wrong: Mapping[str, Any], named: str
) -> None:
    """Every refusal can be acted on."""
    with pytest.raises(InvalidInput, match=named):
        RolloutDocument.from_json(wrong)


def test_a_document_survives_json_with_its_lists_normalised() -> None:
    """What is stored is what is compared."""
    stored = RolloutDocument(
        phase=Phase.CANARY, basis_points=500, canary_symbols=(" msft", "AAPL", "aapl ")
    )
    assert stored.canary_symbols == ("AAPL", "MSFT")
    assert RolloutDocument.from_json(stored.to_json()) == stored


@pytest.mark.parametrize(
    ("changes", "armed"),
    [
        ({"basis_points": 5_000}, True),
        ({"basis_points": 2_500}, False),
        ({"phase": "SHADOW"}, False),
        ({"basis_points": 2_500, "schedule_armed": True}, True),
    ],
)
def test_going_back_disarms_the_schedule(changes: dict[str, Any], armed: bool) -> None:
    """Unless the person who goes back says otherwise in the same change."""
    present = RolloutDocument(phase=Phase.EXPANSION, basis_points=5_000, schedule_armed=True)
    assert change(present, changes).schedule_armed is armed


@pytest.mark.parametrize(
    ("phase", "points", "to"),
    [
        (Phase.SHADOW, 500, Phase.OFF),
        (Phase.CANARY, 0, Phase.SHADOW),
        (Phase.CANARY, 0, Phase.OFF),
        (Phase.EXPANSION, 2_000, Phase.CANARY),
        (Phase.FULL, 10_000, Phase.EXPANSION),
    ],
)
def test_an_earlier_phase_disarms_whatever_the_share(phase: Phase, points: int, to: Phase) -> None:
    """A canary by its list alone has no share to lose; leaving it is a way back all the same."""
    present = RolloutDocument(
        phase=phase, basis_points=points, canary_symbols=("AAPL",), schedule_armed=True
    )
    assert change(present, {"phase": to}).schedule_armed is False
    assert change(present, {"canary_symbols": []}).schedule_armed is True


def test_a_rollback_and_the_rearm_after_it_leave_the_schedule_disarmed() -> None:
    """However it is made: the document itself cannot be rolled back and armed."""
    armed = RolloutDocument(phase=Phase.CANARY, basis_points=500, schedule_armed=True)
    rolled_back = replace(armed, phase=Phase.ROLLED_BACK)
    assert rolled_back.schedule_armed is False
    assert replace(rolled_back, phase=Phase.SHADOW).schedule_armed is False
    with pytest.raises(InvalidInput, match="schedule_armed"):
        RolloutDocument.from_json({"phase": "OFF", "schedule_armed": 1})


_NAMES = st.lists(st.sampled_from(["AAPL", "MSFT", "TSLA"]), max_size=2, unique=True)


@st.composite
def documents(draw: st.DrawFn) -> RolloutDocument:
    """Return any right document over a few names."""
    phase = draw(st.sampled_from(sorted(Phase)))
    low, high = BASIS_POINTS[phase]
    return RolloutDocument(
        phase=phase,
        basis_points=draw(st.integers(low, high)),
        salt=draw(st.sampled_from(["a", "b"])),
        canary_symbols=tuple(draw(_NAMES)),
        deny_symbols=tuple(draw(_NAMES)),
        canary_accounts=tuple(draw(_NAMES)),
        deny_accounts=tuple(draw(_NAMES)),
        schedule_armed=draw(st.booleans()),
    )


@given(documents(), documents(), st.sampled_from(["AAPL", "MSFT", "TSLA", "X"]))
def test_what_does_not_loosen_brings_nobody_to_l3(
    before: RolloutDocument, after: RolloutDocument, name: str
) -> None:
    """Whoever L3 answers after a change that is no loosening, it answered before, too."""
    if loosens(before, after):
        return
    for symbol, account in ((name, ""), ("Y", name), (name, name)):
        arms = [
            assign(symbol, account, RoutingConfig(document=document, expires_at=1.0), 0.0).arm
            for document in (before, after)
        ]
        assert [Arm.L2, Arm.L3] != arms
    assert before.schedule_armed or not after.schedule_armed


@given(documents())
def test_to_stay_and_to_roll_back_never_loosen(document: RolloutDocument) -> None:
    """And to leave a rollback always does."""
    back = replace(document, phase=Phase.ROLLED_BACK)
    assert not loosens(document, back)
    assert not loosens(document, document)
    assert loosens(back, replace(back, phase=Phase.SHADOW))
