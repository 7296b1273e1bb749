"""The measurement of the providers runs, and compares with figures of another version."""

import json
from pathlib import Path

import pytest

from bench import providers
from execution_providers import Fill


def test_every_case_runs() -> None:
    """Executions give fills and checks give what they check."""
    fills = {name: run(3) for name, run in providers.executions().items()}
    assert all(isinstance(fill, Fill) for fill in fills.values())
    assert ["Order", "MarketState", "BarData", "ExecutionRequest"] == [
        type(run(3)).__name__ for run in providers.checks().values()
    ]


def test_figures_are_compared_with_those_of_before(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A case that took 30 us and takes 15 is twice as fast; one that is new has no ratio."""
    monkeypatch.setattr(providers, "executions", lambda: {"old": len, "new": len})
    monkeypatch.setattr(providers, "checks", dict)
    monkeypatch.setattr(providers, "microseconds", lambda _run, _seconds: 15.0)
    before = tmp_path / "before.json"
    before.write_text(json.dumps({"figures": {"old": 30.0}}))
    monkeypatch.setattr("sys.argv", ["providers.py", "--before", str(before)])
    assert 0 == providers.main()
    old, new = capsys.readouterr().out.splitlines()
    assert old.split() == ["old", "15.00", "us", "before", "30.00", "us", "2.00", "times"]
    assert new.split() == ["new", "15.00", "us"]


def test_figures_are_json_that_can_be_compared_with(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--json` writes what `--before` reads."""
    monkeypatch.setattr(providers, "ROUNDS", 2)
    monkeypatch.setattr(providers, "executions", dict)
    monkeypatch.setattr("sys.argv", ["providers.py", "--json", "--seconds", "0.001"])
    assert 0 == providers.main()
    document = json.loads(capsys.readouterr().out)
    assert "us" == document["unit"]
    assert set(providers.checks()) == set(document["figures"])
    assert all(figure > 0 for figure in document["figures"].values())
