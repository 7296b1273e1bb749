"""The bootstrap script: what it takes for its environment, and what it leaves alone."""

import importlib.machinery
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def script(root: Path) -> ModuleType:
    """The script as a module; importing it runs nothing."""
    loader = importlib.machinery.SourceFileLoader("bootstrap", str(root / "touchstone"))
    spec = importlib.util.spec_from_loader("bootstrap", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_a_folder_with_other_things_is_refused_and_kept(root: Path, tmp_path: Path) -> None:
    """A TOUCHSTONE_VENV that is no environment would be emptied by `venv --clear`."""
    precious = tmp_path / "precious.txt"
    precious.write_text("mine")
    done = subprocess.run(
        [sys.executable, str(root / "touchstone"), "version"],
        env=os.environ | {"TOUCHSTONE_VENV": str(tmp_path), "PATH": "/nonexistent"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (2, "") == (done.returncode, done.stdout)
    assert "holds other things" in done.stderr
    assert 1 == len(done.stderr.splitlines())
    assert [precious] == list(tmp_path.iterdir())


def test_an_interrupted_change_of_lock_leaves_no_stamp(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of another lock must not pass for the whole of the earlier one."""
    venv = tmp_path / "venv"
    venv.mkdir()
    (venv / "pyvenv.cfg").touch()
    (venv / "touchstone-stamp").write_text(script.stamp_text("requirements.lock"))

    def interrupted(*_: str) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(script, "make_with_uv", interrupted)
    monkeypatch.setattr(script, "make_with_pip", interrupted)
    with pytest.raises(KeyboardInterrupt):
        script.make_environment(str(venv), "requirements-dev.lock")
    assert not (venv / "touchstone-stamp").exists()


@pytest.fixture
def native_venv(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, list[str]]:
    """An environment whose native book is built by a list that grows at every try."""
    venv = tmp_path / "venv"
    venv.mkdir()
    tries: list[str] = []
    monkeypatch.setattr(script, "cannot_build", lambda _: "")
    monkeypatch.setattr(script, "is_built", lambda: bool(tries))

    def build(folder: str) -> str:
        tries.append(folder)
        return ""

    monkeypatch.setattr(script, "build_native", build)
    return str(venv), tries


def test_the_native_book_is_built_once_and_again_when_its_sources_change(
    script: ModuleType, native_venv: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same sources are not compiled twice; other ones are."""
    venv, tries = native_venv
    script.ensure_native(venv)
    script.ensure_native(venv)
    assert 1 == len(tries)
    monkeypatch.setattr(script, "native_digest", lambda: "other sources")
    script.ensure_native(venv)
    assert 2 == len(tries)


def test_without_a_compiler_the_plain_book_serves_until_one_comes(
    script: ModuleType,
    native_venv: tuple[str, list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One line says what is missing, once; a compiler installed later is noticed."""
    venv, tries = native_venv
    monkeypatch.setattr(script, "cannot_build", lambda _: "no C++ compiler on PATH")
    script.ensure_native(venv)
    script.ensure_native(venv)
    said = capsys.readouterr().err
    assert 1 == said.count("no native order book: no C++ compiler on PATH")
    assert [] == tries
    monkeypatch.setattr(script, "cannot_build", lambda _: "")
    script.ensure_native(venv)
    assert 1 == len(tries)


def test_sources_that_do_not_compile_are_not_tried_at_every_start(
    script: ModuleType, native_venv: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same sources would fail the same way."""
    venv, _ = native_venv
    failures: list[str] = []

    def fail(folder: str) -> str:
        failures.append(folder)
        return "it did not compile"

    monkeypatch.setattr(script, "build_native", fail)
    script.ensure_native(venv)
    script.ensure_native(venv)
    assert 1 == len(failures)


def test_a_missing_compiler_is_named_with_its_package(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What to install is said, not only what is missing."""
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.delenv("CXX", raising=False)
    assert "apt install g++" in script.cannot_build(sys.executable)


def test_one_command_writes_every_lock(
    script: ModuleType, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What says that `./touchstone lock` made it is made by that, environments of others too."""
    written: list[str] = []
    monkeypatch.setattr(script.sys, "argv", ["touchstone", "lock"])
    monkeypatch.setattr(script.shutil, "which", lambda _name: "uv")
    monkeypatch.setattr(
        script.subprocess,
        "run",
        lambda command, **_: written.append(command[command.index("-o") + 1]),
    )
    script.relock()

    assert "bench/peers/requirements.txt" in written
    assert "tests/conformance/clients/requirements.txt" in written
    assert 5 == len(written)
    for name in written:
        assert "#    ./touchstone lock" == (root / name).read_text().splitlines()[1]
