"""The rollout file after a rollback: one value changes, nothing else, in one step."""

import os
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from lob.errors import ConfigError
from services.router.rollout_file import RolloutFile, with_phase
from tests.services.router_harness import ROOT, copy_configs, settings_of
from touchstone.kit.flags import load_flags
from touchstone.rollout.state import Phase


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "# a\nrollout:\n  enabled: true # b\n  phase: shadow   # c\n  salt: x\n",
            "# a\nrollout:\n  enabled: true # b\n  phase: rolled_back   # c\n  salt: x\n",
        ),
        ('rollout:\n  phase: "shadow" # c\n', "rollout:\n  phase: rolled_back # c\n"),
        ("rollout:\r\n  phase: 'off'\r\n", "rollout:\r\n  phase: rolled_back\r\n"),
        ("rollout: {phase: off, salt: x}\n", "rollout: {phase: rolled_back, salt: x}\n"),
        ("rollout:\n    phase: shadow", "rollout:\n    phase: rolled_back"),
        ("rollout:\n  enabled: true\n", "rollout:\n  phase: rolled_back\n  enabled: true\n"),
        ("rollout:\n  phase: rolled_back\n", "rollout:\n  phase: rolled_back\n"),
    ],
)
def test_only_the_phase_changes(before: str, after: str) -> None:
    """Comments, quotes of others, order, indentation and line ends stay."""
    assert after == with_phase(before, "rolled_back")


@pytest.mark.parametrize(
    "text",
    [
        "rollout:\n  phase:\n    shadow # c\n",
        "rollout:\n  phase: >-\n    shadow\n  salt: x # c\n",
        "rollout:\n  ? phase\n  : shadow\n",
    ],
)
def test_an_unusual_layout_is_still_right(text: str) -> None:
    """It may be laid out anew; what it says is the same but for the phase."""
    before, after = (YAML(typ="safe").load(t) for t in (text, with_phase(text, "rolled_back")))
    assert {"rollout": before["rollout"] | {"phase": "rolled_back"}} == after


@pytest.mark.parametrize("text", ["", "5", "rollout: [", "rollout: 5", "other:\n  phase: x\n"])
def test_what_is_no_rollout_file_is_left_alone(text: str, tmp_path: Path) -> None:
    """One line says so; the file keeps its bytes."""
    path = tmp_path / "f.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError):
        with_phase(text, "rolled_back")
    assert not RolloutFile(path).set_phase("rolled_back")
    assert text == path.read_text()
    assert ["f.yaml"] == [entry.name for entry in tmp_path.iterdir()]


def test_a_file_that_is_not_there_is_no_fault(tmp_path: Path) -> None:
    """A rollback does not depend on it."""
    assert not RolloutFile(tmp_path / "absent.yaml").set_phase("rolled_back")


def test_a_link_stays_a_link_and_the_mode_stays(tmp_path: Path) -> None:
    """What is replaced is the file behind it."""
    real, link = tmp_path / "real.yaml", tmp_path / "link.yaml"
    real.write_text("rollout:\n  phase: shadow\n")
    real.chmod(0o640)
    link.symlink_to(real)
    assert RolloutFile(link).set_phase("rolled_back")
    assert (True, "rollout:\n  phase: rolled_back\n") == (link.is_symlink(), real.read_text())
    assert 0o640 == real.stat().st_mode & 0o777


def test_a_router_of_the_same_process_id_is_not_in_the_way(tmp_path: Path) -> None:
    """Each container's router is process 1, and the folder may be shared: no common temporary."""
    path = tmp_path / "f.yaml"
    path.write_text("rollout:\n  phase: shadow\n")
    others = tmp_path / f".f.yaml.{os.getpid()}.tmp"
    others.write_text("half of a fi")
    assert RolloutFile(path).set_phase("rolled_back")
    assert "half of a fi" == others.read_text()
    assert "rollout:\n  phase: rolled_back\n" == path.read_text()


def test_a_router_with_an_empty_redis_starts_from_it_rolled_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shipped file, rewritten, is a right one and says ROLLED_BACK."""
    monkeypatch.chdir(ROOT)
    folder = copy_configs(ROOT, tmp_path)
    assert RolloutFile(folder / "l3_rollout.yaml").set_phase("rolled_back")
    flags = load_flags(folder / "config_backtest.yaml", folder / "l3_rollout.yaml", use_l3=None)
    assert (Phase.ROLLED_BACK, 500) == (
        flags.first_document.phase,
        flags.first_document.basis_points,
    )


def test_only_a_named_file_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shipped one is not, the one of the environment is."""
    monkeypatch.chdir(ROOT)
    assert "rollout_path" not in settings_of(ROOT / "configs").model_fields_set
    monkeypatch.setenv("TOUCHSTONE_ROUTER_ROLLOUT_PATH", str(tmp_path / "f.yaml"))
    assert "rollout_path" in settings_of(ROOT / "configs").model_fields_set
