"""Keep the house clean: sizes, names, and what must never be written down."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

FUNCTION_LINES_MAX = 70
MODULE_LINES_MAX = 500

# path or path:function -> why it may be larger
SIZE_EXCEPTIONS: dict[str, str] = {}

FORBIDDEN_NAME_PARTS = ("manager", "helper", "utils")
FORBIDDEN_TEXT = {
    "a registry's address": re.compile(r"https?://[^\s\"']*(pypi|npmjs|debian\.org|pythonhosted)"),
    "a path of one machine": re.compile(r"/(?:wo[r]k|ro[o]t|ho[m]e)/"),
    "an unfinished mark": re.compile(r"\b(TO[D]O|FIX[M]E|XX[X])\b"),
}


def tracked(*patterns: str) -> list[Path]:
    """Return the files git tracks, or would, that match the patterns."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [path for line in listed.splitlines() if (path := ROOT / line).is_file()]


def ours() -> list[Path]:
    """Return our own Python modules, without generated code."""
    folders = (ROOT / "src", ROOT / "services", ROOT / "bench", ROOT / "scripts", ROOT / "tests")
    return [
        path
        for path in tracked("*.py")
        if path.is_relative_to(folders[0].parent)
        and any(path.is_relative_to(folder) for folder in folders)
        and not path.is_relative_to(ROOT / "src/touchstone/v1")
    ]


def test_modules_hold_one_idea() -> None:
    """No module of the product is longer than 500 lines without a stated reason."""
    long = {
        name: lines
        for path in ours()
        if not path.is_relative_to(ROOT / "tests")
        and (lines := len(path.read_text().splitlines())) > MODULE_LINES_MAX
        and (name := str(path.relative_to(ROOT))) not in SIZE_EXCEPTIONS
    }
    assert {} == long


def test_functions_fit_a_screen() -> None:
    """No function is longer than 70 lines without a stated reason."""
    long = {}
    for path in ours():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                name = f"{path.relative_to(ROOT)}:{node.name}"
                if lines > FUNCTION_LINES_MAX and name not in SIZE_EXCEPTIONS:
                    long[name] = lines
    assert {} == long


def test_names_say_what_things_are() -> None:
    """No module, class or function of the product is a manager, a helper or utils."""
    found = []
    for path in ours():
        names = [path.stem] + [
            node.name
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        ]
        found += [
            f"{path.relative_to(ROOT)}: {name}"
            for name in names
            if any(part in name.lower().split("_") for part in FORBIDDEN_NAME_PARTS)
        ]
    assert [] == found


@pytest.mark.parametrize("what", FORBIDDEN_TEXT)
def test_nothing_forbidden_is_written_down(what: str) -> None:
    """No tracked text names a registry, a machine's path, or unfinished work."""
    pattern = FORBIDDEN_TEXT[what]
    found = []
    for path in tracked():
        if path.suffix in {".png", ".gz", ".parquet"} or path.name == "test_tidy.py":
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if pattern.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}")
    assert [] == found


LOCKS = (
    "requirements.lock",
    "requirements-dev.lock",
    "requirements-build.lock",
    "bench/peers/requirements.txt",
    "tests/conformance/clients/requirements.txt",
)


def test_locks_have_hashes_and_no_addresses() -> None:
    """The locks pin every package by hash and name no download address."""
    for name in LOCKS:
        text = (ROOT / name).read_text()
        pinned = re.findall(r"^\S+==\S+", text, re.MULTILINE)
        assert len(pinned) > 3
        assert "://" not in text
        assert "--index" not in text
        for block in re.split(r"^(?=\S+==)", text, flags=re.MULTILINE)[1:]:
            assert "--hash=sha256:" in block


def test_every_test_says_what_it_proves() -> None:
    """Every test function has a one-line docstring."""
    silent = []
    for path in ours():
        if not path.name.startswith("test_"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if node.name.startswith("test_") and not ast.get_docstring(node):
                silent.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}")
    assert [] == silent
