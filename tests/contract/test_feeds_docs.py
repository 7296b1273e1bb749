"""What docs/feeds.md shows works: its Python runs in order, its commands and formats exist."""

import re
import shlex
from pathlib import Path

import pytest

from lob.feeds import READERS
from lob.feeds.writers import WRITERS
from tests.conftest import ROOT
from touchstone.cli import convert, replay

PAGE = (ROOT / "docs" / "feeds.md").read_text(encoding="utf-8")


def test_the_python_blocks_run_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every block runs after those before it, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

    for block in blocks:
        exec(compile(block, "docs/feeds.md", "exec"), names)  # noqa: S102 - it is our own page

    assert 4 <= len(blocks)
    assert "Level(" in capsys.readouterr().out
    assert (tmp_path / "a.parquet").is_file()


def test_the_table_has_every_format() -> None:
    """Readers and writers are those of the registries."""
    rows = re.findall(r"^\| `([a-z-]+)` \|.*\|(.*)\|$", PAGE, re.MULTILINE)

    assert set(READERS) == {name for name, _ in rows}
    assert set(WRITERS) == {name for name, written in rows if "yes" in written}


def test_the_commands_have_the_options_shown() -> None:
    """Each option of a command shown is one it has."""
    block = re.search(r"```console\n(.*?)```", PAGE, re.DOTALL)
    assert block is not None
    functions = {"replay": replay.replay, "convert": convert.convert_file}
    seen = set()
    for line in block.group(1).splitlines():
        words = shlex.split(line.split("#")[0])
        source = (ROOT / "src/touchstone/cli/feeds.py").read_text()
        source += Path(functions[words[1]].__code__.co_filename).read_text()
        source += (ROOT / "src/touchstone/cli/console.py").read_text()
        options = [word for word in words if word.startswith("--")]
        assert [] == [option for option in options if f'"{option}"' not in source]
        seen.add(words[1])
    assert set(functions) == seen
