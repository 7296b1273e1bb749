"""Every key of the L3 configuration is read by something: changing it changes an answer."""

import pytest

from lob.config import L3ExecutionConfig
from tests.execution_providers.schema_cases import (
    CHANGES,
    Change,
    configurations,
    executions,
    schema_keys,
)


def test_no_key_is_left_out() -> None:
    """The changes are of all the keys that the schema has, one each."""
    assert sorted(schema_keys()) == sorted(change.key for change in CHANGES)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.key)
def test_changing_a_key_changes_an_answer(change: Change) -> None:
    """With the key at another value, what it is documented for comes out differently."""
    before, after = configurations(change)
    assert before != after
    assert change.seen_in(before) != change.seen_in(after)


def test_the_answers_that_are_compared_stay_the_same_by_themselves() -> None:
    """Twice the same configuration is twice the same answers, so a difference means something."""
    change = next(each for each in CHANGES if each.key == "market_impact.eta")
    before, _ = configurations(change)
    copy = L3ExecutionConfig.from_mapping(before.model_dump(mode="json"))
    assert executions(before) == executions(copy)
