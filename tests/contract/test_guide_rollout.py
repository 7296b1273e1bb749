"""What the deployment guide prints about flags and rollout holds, word for word."""

import hashlib
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from touchstone.kit.flags import load_flags
from touchstone.rollout.assignment import should_use_l3
from touchstone.rollout.state import Phase

MASTER_SWITCH = """\
# configs/config_backtest.yaml
execution:
  level: L3      # L2 or L3
  use_l3_simulator: true  # Feature flag

  # L3-specific config
  l3_config_path: configs/execution_l3.yaml
"""

CANARY = """\
# configs/l3_rollout.yaml
rollout:
  enabled: true
  percentage: 0.05  # 5%
  canary_symbols:
    - "AAPL"
    - "MSFT"
    - "GOOGL"
"""


def guides_should_use_l3(symbol: str, rollout_pct: float = 0.0) -> bool:
    """Decide as the guide's own function does."""
    hash_val = int(hashlib.md5(symbol.encode(), usedforsecurity=False).hexdigest(), 16)
    return (hash_val % 100) < (rollout_pct * 100)


def test_the_guides_blocks_load_as_they_are(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its two files permit L3, and start in shadow with its share and its canaries."""
    monkeypatch.chdir(root)
    config, rollout = tmp_path / "config_backtest.yaml", tmp_path / "l3_rollout.yaml"
    config.write_text(MASTER_SWITCH)
    rollout.write_text(CANARY)
    flags = load_flags(config, rollout, None)
    assert flags.off_because == ()
    first = flags.first_document
    assert (first.phase, first.basis_points) == (Phase.SHADOW, 500)
    assert first.canary_symbols == ("AAPL", "GOOGL", "MSFT")


def test_the_shipped_files_hold_the_guides_keys_and_values(root: Path) -> None:
    """Whoever follows the guide finds its names where it says they are."""
    for name, block in (("config_backtest.yaml", MASTER_SWITCH), ("l3_rollout.yaml", CANARY)):
        shipped = YAML(typ="safe").load((root / "configs" / name).read_text())
        for section, values in YAML(typ="safe").load(block).items():
            assert {key: shipped[section][key] for key in values} == values


@pytest.mark.parametrize("percent", range(101))
def test_should_use_l3_agrees_with_the_guide_wherever_the_guide_is_exact(percent: int) -> None:
    """It differs only where float arithmetic lets one bucket too many in."""
    share = percent / 100
    inexact = share * 100 > percent
    for symbol in (f"S{n}" for n in range(300)):
        expected = guides_should_use_l3(symbol, share)
        bucket = int(hashlib.md5(symbol.encode(), usedforsecurity=False).hexdigest(), 16) % 100
        if inexact and bucket == percent:
            expected = False
        assert should_use_l3(symbol, share) == expected
    assert inexact == (percent in {7, 14, 28, 55, 56})


def test_should_use_l3_defaults_to_nobody() -> None:
    """As in the guide, without a share the answer is no."""
    assert not any(should_use_l3(f"S{n}") for n in range(1_000))
