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
