"""What configs/ ships loads, and docs/configuration.md says every key of it and nothing else."""

import dataclasses
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from lob.config import L3ExecutionConfig
from tests.conftest import ROOT
from touchstone.cli.config_keys import l3_keys
from touchstone.kit.flags import _EXECUTION_KEYS, _ROLLOUT_KEYS, load_flags
from touchstone.rollout.judge import JudgeConfig
from touchstone.rollout.plan import _GO_KEYS
from touchstone.rollout.state import DEFAULT_SALT

PAGE = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
CONFIGS = ROOT / "configs"
ROWS = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if line.startswith("| `")]


def part(title: str) -> str:
    """Return the page's part below a title, to the next of its rank."""
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def yaml(name: str) -> Any:
    """Return a YAML file of configs/ as plain values."""
    return YAML(typ="safe").load((CONFIGS / name).read_text(encoding="utf-8"))


def names_in(value: Any) -> set[str]:
    """Return all keys of a document, at any depth."""
    below: list[Any] = []
    if isinstance(value, dict):
        below = list(value.values())
    elif isinstance(value, list):
        below = value
    own = set(value) if isinstance(value, dict) else set()
    return own.union(*map(names_in, below))


def test_the_python_block_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The example loads the shipped file and changes what it says."""
    monkeypatch.chdir(ROOT)
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

    exec(compile(block, "docs/configuration.md", "exec"), {})  # noqa: S102 - our own page

    assert "0.1 0.4\n" == capsys.readouterr().out


def test_every_shipped_file_has_its_part() -> None:
    """Each file is in the page's first table, and the table names no other."""
    files = {file.name for file in CONFIGS.iterdir() if file.is_file()}

    assert files == set(re.findall(r"^\| \[`([^`]+)`\]", PAGE, re.MULTILINE))


def test_the_files_with_our_own_loaders_load(monkeypatch: pytest.MonkeyPatch) -> None:
    """The L3 file is the defaults; the other two allow L3, from no further than shadow."""
    monkeypatch.chdir(ROOT)
    flags = load_flags(CONFIGS / "config_backtest.yaml", CONFIGS / "l3_rollout.yaml", None)

    assert L3ExecutionConfig() == L3ExecutionConfig.from_yaml(CONFIGS / "execution_l3.yaml", {})
    assert flags.master_flag
    assert "SHADOW" == flags.first_document.phase


def test_every_key_of_the_l3_file_is_documented_as_it_is() -> None:
    """Key, what is allowed and default are those of the schema, in its order."""
    rows = re.findall(
        r"^\| `(\S+)` \| (.*?) \| (.*?) \| .+ \|$", part("execution_l3.yaml"), re.MULTILINE
    )

    assert [tuple(key) for key in l3_keys()] == rows


def test_every_key_of_the_switches_is_documented() -> None:
    """Keys are those that the loader takes; defaults of the judge are the judge's."""
    documented = {row[0].strip("`"): row[2] for row in ROWS if len(row) == 4}
    judge = {f"rollout.judge.{f.name}": str(f.default) for f in dataclasses.fields(JudgeConfig)}
    deep = {"judge", "go_no_go"}
    expected = {f"execution.{key}" for key in _EXECUTION_KEYS}
    expected |= {f"rollout.{key}" for key in _ROLLOUT_KEYS if key not in deep}
    expected |= {f"rollout.go_no_go.{key}" for key in _GO_KEYS} | set(judge)

    assert expected == {key for key in documented if key.startswith(("execution.", "rollout."))}
    assert judge == {key: documented[key] for key in judge}
    assert DEFAULT_SALT == documented["rollout.salt"]


@pytest.mark.parametrize("name", ["prometheus.yml", "alertmanager.yml"])
def test_every_key_of_the_watchers_is_documented(name: str) -> None:
    """Both files are YAML, and each key in them, at any depth, is named in their part."""
    missing = {key for key in names_in(yaml(name)) if f"`{key}`" not in part(name)}

    assert set() == missing


def test_every_directive_of_redis_is_documented() -> None:
    """Each line that is no comment is a directive with a value, and is explained."""
    lines = (CONFIGS / "redis.conf").read_text(encoding="utf-8").splitlines()
    directives = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]

    assert all(len(directive) == 2 for directive in directives)
    assert {d[0] for d in directives} == {
        name
        for row in re.findall(r"^\| (`.*?) \|", part("redis.conf"), re.MULTILINE)
        for name in re.findall(r"`([^`]+)`", row)
    }


@pytest.mark.parametrize("script", sorted(CONFIGS.glob("*.sh")), ids=lambda path: path.name)
def test_every_script_is_one(script: Path) -> None:
    """A shell reads it without complaint, and the page says what for."""
    done = subprocess.run(["sh", "-n", str(script)], capture_output=True, check=False)

    assert (0, b"") == (done.returncode, done.stderr)
    assert f"`{script.name}`" in part("Scripts")
