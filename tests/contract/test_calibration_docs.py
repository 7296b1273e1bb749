"""What docs/calibration.md shows works: its Python runs in order, its options exist."""

import re
import shlex
from pathlib import Path

import pytest

from lob.config import L3ExecutionConfig
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "calibration.md").read_text(encoding="utf-8")


def test_the_python_blocks_run_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every block runs after those before it, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

    for block in blocks:
        exec(compile(block, "docs/calibration.md", "exec"), names)  # noqa: S102 - our own page

    assert 3 == len(blocks)
    assert "limit orders a second" in capsys.readouterr().out
    assert names["config"] == L3ExecutionConfig.from_yaml(tmp_path / "calibrated.yaml")


def test_the_commands_have_the_options_shown() -> None:
    """Each option of a command shown is one it has."""
    block = re.search(r"```console\n(.*?)```", PAGE, re.DOTALL)
    assert block is not None
    sources = ("calibrate", "feeds", "console")
    known = "".join((ROOT / f"src/touchstone/cli/{name}.py").read_text() for name in sources)
    words = [word for line in block.group(1).splitlines() for word in shlex.split(line)]
    options = [word for word in words if word.startswith("--")]
    assert 5 <= len(options)
    assert [] == [option for option in options if f'"{option}"' not in known]


def test_every_key_in_the_table_is_one_of_the_configuration() -> None:
    """The sections and keys named are there."""
    document = L3ExecutionConfig().model_dump()
    keys = re.findall(r"`(lob_data|market_impact|latency|hidden_liquidity)\.([a-z_]+)`", PAGE)
    assert 6 <= len(keys)
    assert [] == [key for section, key in keys if key not in document[section]]
