"""The known case tells the levels apart, whatever is said of them."""

import pytest

from execution_providers import create_execution_provider
from execution_providers.known_case import ANSWERS, why_not
from lob.config import create_l3_config
from lob.errors import InvalidInput
from lob.types import AssetClass


@pytest.mark.parametrize("kind", list(AssetClass))
@pytest.mark.parametrize("level", ["L2", "L3"])
def test_a_provider_is_of_its_own_level_only(level: str, kind: AssetClass) -> None:
    """Each level passes as itself and fails as the other, with what it answered."""
    config = create_l3_config("minimal") if level == "L3" else None
    provider = create_execution_provider(kind, level, config=config)
    assert "" == why_not(provider, level)
    other = "L2" if level == "L3" else "L3"
    assert f"{other} {kind}: the known case gave KnownAnswer(provider='{level}'" in why_not(
        provider, other
    )


def test_a_level_that_calls_itself_another_is_found_by_its_fills() -> None:
    """Without the name, status, quantity, price and queue still differ."""
    assert 0 == sum(one == other for one, other in zip(*ANSWERS.values(), strict=True))


def test_a_refusal_is_a_reason() -> None:
    """A provider that refuses the known order has not given the known answer."""
    off = create_execution_provider("EQUITY", "L3", config=create_l3_config(enabled=False))
    assert "was refused" in why_not(off, "L3")


def test_a_level_without_an_answer_is_refused() -> None:
    """There is nothing to compare with."""
    with pytest.raises(InvalidInput, match="level: 'L4'"):
        why_not(create_execution_provider("EQUITY"), "L4")
