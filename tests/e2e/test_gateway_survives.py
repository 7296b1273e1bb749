"""Each part of the real stack is killed under load: nothing is lost, nothing is there twice."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.conftest import ROOT
from touchstone.cli.drill.load import Sent
from touchstone.cli.drill.postgresql import find_initdb
from touchstone.cli.drill.survival import _differences


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_gateway_survives_the_death_of_each_part(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It recovers by itself, the books agree with the venue's, and the times are printed."""
    done = subprocess.run(
        [sys.executable, "-m", "touchstone.cli", "drill", "gateway", "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=220,
        check=False,
    )
    report: dict[str, Any] = json.loads(done.stdout)
    with capsys.disabled():
        times = {death["victim"]: death["seconds_to_recover"] for death in report["deaths"]}
        sys.stdout.write(f" seconds to recover: {times} ")
    assert (report["audit"]["problems"], done.returncode) == ([], 0), done.stdout
    victims = [death["victim"] for death in report["deaths"]]
    if find_initdb() is None:
        pytest.skip("no PostgreSQL server: the other deaths were survived")
    assert victims == ["gateway", "redis", "postgresql", "exchange"]
    by_victim = {death["victim"]: death for death in report["deaths"]}
    # A dead database stops nothing; a dead Redis closes, and says so.
    assert by_victim["postgresql"]["refused_meanwhile"] == {}
    assert by_victim["postgresql"]["taken_meanwhile"] > 0
    assert by_victim["redis"]["refused_meanwhile"].keys() == {"CONTROL_STATE_UNKNOWN"}
    assert report["audit"]["at_venue"] > 20


def test_the_comparison_finds_what_is_lost_double_or_different() -> None:
    """A load of five orders, of which one is as it should be."""
    sent = [Sent(f"survive-{number}", {}, status=201) for number in range(1, 6)]
    ours = {
        f"survive-{number}": {"status": "filled", "filled_quantity": "0.01"}
        for number in (1, 2, 3, 5)
    }
    filled = {"filled_size": "1", "status": "FILLED"}
    theirs = {
        "survive-1": [filled],
        "survive-2": [filled, filled],
        "survive-3": [{"filled_size": "2", "status": "FILLED"}],
        "survive-4": [filled],
    }

    class Load:
        """A load that is over."""

    load: Any = Load()
    load.sent = sent
    assert _differences(load, ours, theirs) == [
        "survive-2: 2 orders at the venue",
        "survive-3: filled 0.01 here, 0.02 at the venue",
        "survive-4: at the venue, and not here",
        "survive-5: taken, filled here, and not at the venue",
    ]
