"""What made-up orders need to be worth looking at."""

from pathlib import Path

import pytest

from lob.config import L3ExecutionConfig, create_l3_config
from touchstone.cli.traffic import L3_CONFIG, visible_l3
from touchstone.cli.up import _settings_for_traffic


def test_l3_has_a_retail_connection(tmp_path: Path) -> None:
    """The file that is named is one that the simulator loads, in a folder that is made."""
    settings = visible_l3(tmp_path / "not" / "there")
    loaded = L3ExecutionConfig.from_yaml(settings[L3_CONFIG])
    assert create_l3_config("equity_retail").latency == loaded.latency


def test_a_configuration_that_is_named_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is put in its place; nor where the folder is none."""
    monkeypatch.delenv(L3_CONFIG, raising=False)
    assert [L3_CONFIG] == list(_settings_for_traffic(tmp_path))
    (tmp_path / "file").touch()
    assert {} == _settings_for_traffic(tmp_path / "file")
    monkeypatch.setenv(L3_CONFIG, "configs/execution_l3.yaml")
    assert {} == _settings_for_traffic(tmp_path)
