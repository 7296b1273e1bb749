"""The configuration files: what they switch off, and how they say what is wrong."""

from pathlib import Path

import pytest

from lob.errors import ConfigError
from tests.services.router_harness import copy_configs, edit
from touchstone.kit.flags import Flags, load_flags
from touchstone.rollout.state import Phase


@pytest.fixture
def folder(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copies of the two shipped files."""
    monkeypatch.chdir(root)
    return copy_configs(root, tmp_path)


def load(folder: Path, *, use_l3: bool | None = None) -> Flags:
    """Load the files of a folder."""
    return load_flags(folder / "config_backtest.yaml", folder / "l3_rollout.yaml", use_l3)


def test_the_shipped_files_permit_and_start_in_shadow(folder: Path) -> None:
    """Nothing is switched off, and nothing is promoted."""
    flags = load(folder)
    assert (flags.master_flag, flags.environment_allows) == (True, True)
    first = flags.first_document
    assert (first.phase, first.basis_points) == (Phase.SHADOW, 500)
    assert first.canary_symbols == ("AAPL", "GOOGL", "MSFT")


@pytest.mark.parametrize(("use_l3", "allows"), [(None, True), (True, True), (False, False)])
def test_the_environment_only_tightens(folder: Path, use_l3: bool | None, allows: bool) -> None:
    """Only false changes anything."""
    assert load(folder, use_l3=use_l3).environment_allows is allows


@pytest.mark.parametrize(
    ("file", "old", "new", "because"),
    [
        ("config_backtest.yaml", "level: L3 ", "level: L2 ", "execution.level: L2"),
        (
            "config_backtest.yaml",
            "use_l3_simulator: true",
            "use_l3_simulator: false",
            "execution.use_l3_simulator: false",
        ),
        (
            "config_backtest.yaml",
            "  use_l3_simulator: true\n",
            "",
            "execution.use_l3_simulator: false",
        ),
        ("l3_rollout.yaml", "enabled: true", "enabled: false", "rollout.enabled: false"),
    ],
)
def test_each_master_switch_is_named(
    folder: Path, file: str, old: str, new: str, because: str
) -> None:
    """Off or left out is off, and the reason says which."""
    edit(folder / file, old, new)
    assert load(folder).off_because == (because,)


def test_l3s_own_switch_counts(folder: Path, root: Path) -> None:
    """`enabled: false` in L3's configuration is a master switch too."""
    path = folder / "execution_l3.yaml"
    path.write_text((root / "configs" / "execution_l3.yaml").read_text())
    edit(path, "enabled: true # the master", "enabled: false # the master")
    edit(folder / "config_backtest.yaml", "configs/execution_l3.yaml", str(path))
    assert load(folder).off_because == (f"{path}: enabled: false",)


@pytest.mark.parametrize(
    ("file", "old", "new", "named"),
    [
        ("l3_rollout.yaml", "percentage: 0.05", "percentage: 5", "percentage: 5; allowed: a frac"),
        ("l3_rollout.yaml", "percentage: 0.05", "percentage: .nan", "percentage: nan"),
        ("l3_rollout.yaml", "percentage: 0.05", "percentage: 5%", "percentage: '5%'"),
        ("l3_rollout.yaml", "phase: shadow", "phase: half", "phase: 'half'; allowed: off, shadow"),
        ("l3_rollout.yaml", "phase: shadow", "phase: [1]", "phase: \\[1\\]; allowed: off"),
        ("l3_rollout.yaml", "enabled: true", "enabled: maybe", "enabled: 'maybe'; allowed: true"),
        ("l3_rollout.yaml", "salt: touchstone", "salt: 5", "rollout.salt: 5"),
        ("l3_rollout.yaml", '    - "MSFT"', "    - 5", "canary_symbols\\[1\\]: 5"),
        ("l3_rollout.yaml", "salt: touchstone", "enabled: true", "line \\d+: .*duplicate key"),
        ("l3_rollout.yaml", "rollout:", "roll: [", "line \\d+"),
        ("l3_rollout.yaml", "rollout:", "rolout:", "rolout: no such key; allowed: rollout"),
        (
            "config_backtest.yaml",
            "level: L3",
            "level: L4",
            "execution.level: 'L4'; allowed: L2, L3",
        ),
        ("config_backtest.yaml", "level: L3", "levels: L3", "execution.levels: no such key"),
        ("config_backtest.yaml", "configs/execution_l3.yaml", "absent.yaml", "absent.yaml"),
    ],
)
def test_a_wrong_file_is_one_line_with_file_key_value_and_what_is_allowed(
    folder: Path, file: str, old: str, new: str, named: str
) -> None:
    """Unknown keys, duplicates and wrong values are never ignored."""
    edit(folder / file, old, new)
    with pytest.raises(ConfigError, match=named) as caught:
        load(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "5", "- a", "rollout:\n", "\x00"])
def test_a_file_that_is_no_mapping_is_refused(folder: Path, content: str) -> None:
    """An empty file is not a permission."""
    (folder / "l3_rollout.yaml").write_text(content)
    with pytest.raises(ConfigError, match=r"l3_rollout\.yaml"):
        load(folder)
