"""The soak executes what it says, and tells growth from none."""

from pathlib import Path

import pytest

from bench import soak
from lob.errors import InvalidInput


@pytest.mark.slow
def test_a_short_soak_runs_against_a_real_process(root: Path) -> None:
    """Every order is answered by a fill, sessions come and go, and memory is looked at."""
    told: list[str] = []
    document = soak.measure(soak.Options(executions=6_400), root, told.append)
    assert 6_400 == document["executions"] == sum(document["answers"].values())
    assert {} == document["faults"]
    assert {"FILLED", "UNFILLED"} <= set(document["answers"])
    assert (soak.SAMPLES, 4) == (document["sessions"], document["reloads"])
    assert soak.SAMPLES == len(told) == len(document["samples"])
    assert document["peak_mib"] >= document["end_mib"] > 10
    assert soak.held(document), document
    assert 4 == len(soak.lines_of(document))


def test_growth_and_faults_are_not_held() -> None:
    """A run that grew, or of which something failed, does not pass."""
    good = {"growth_mib": 1.0, "faults": {}}
    assert soak.held(good)
    assert not soak.held(good | {"growth_mib": soak.GROWTH_MIB_MAX})
    assert not soak.held(good | {"faults": {"OVERLOADED": 1}})


@pytest.mark.parametrize("wrong", [{"executions": 10}, {"warm_share": 0.0}, {"warm_share": 1.0}])
def test_options_that_measure_nothing_are_refused(wrong: dict[str, float]) -> None:
    """The text names the option."""
    with pytest.raises(InvalidInput, match=next(iter(wrong))):
        soak.Options(**wrong)  # type: ignore[arg-type]
