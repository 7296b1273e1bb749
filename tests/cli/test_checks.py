"""What `touchstone test` gives the checks it runs: nothing compiled twice, files in memory."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from touchstone.cli import checks


def test_what_is_compiled_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the caller's own processes keep nothing."""
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    assert "PYTHONDONTWRITEBYTECODE" not in checks._environment()


def test_files_are_in_memory_where_there_is_room(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Other users may pass through the folder, which goes at the end; a small one is left alone."""
    monkeypatch.setattr(checks, "MEMORY", tmp_path)
    monkeypatch.setattr(checks, "ROOM_BYTES", 1)
    with checks._in_memory({"A": "b"}) as environment:
        folder = Path(environment["TMPDIR"])
        assert (tmp_path, 0o711) == (folder.parent, folder.stat().st_mode & 0o777)
    assert not folder.exists()
    monkeypatch.setattr(checks, "ROOM_BYTES", 1 << 60)
    with checks._in_memory({"A": "b"}) as environment:
        assert {"A": "b"} == environment
    assert [] == list(tmp_path.iterdir())


def test_a_folder_that_somebody_named_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """TMPDIR is the caller's choice."""
    monkeypatch.setattr(checks, "ROOM_BYTES", 1)
    with checks._in_memory({"TMPDIR": "/here"}) as environment:
        assert {"TMPDIR": "/here"} == environment


@pytest.mark.skipif(sys.platform != "linux", reason="where /dev/shm is")
@pytest.mark.parametrize(("flags", "taken"), [(0, True), (getattr(os, "ST_NOEXEC", 8), False)])
def test_programs_must_be_able_to_run_from_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: int, taken: bool
) -> None:
    """There is no room where nothing may be run, nor where there is no folder."""
    monkeypatch.setattr(checks, "ROOM_BYTES", 1)
    assert not checks._has_room(tmp_path / "missing")
    found = SimpleNamespace(f_bavail=1, f_frsize=4_096, f_flag=flags)
    monkeypatch.setattr(os, "statvfs", lambda _folder: found)
    assert taken is checks._has_room(tmp_path)


def test_what_failed_is_named_at_the_end_with_its_reason(tmp_path: Path) -> None:
    """A failure inside thousands of lines is found without reading them; also one of a set-up."""
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "@pytest.fixture\n"
        "def broken() -> None:\n    raise OSError('no disk')\n"
        "def test_passes() -> None:\n    pass\n"
        "def test_fails() -> None:\n    assert 3 == 2 + 2, 'sums'\n"
        "def test_never_starts(broken: None) -> None:\n    pass\n"
    )
    command = ["pytest", "-q", "-p", "no:cacheprovider", "--junitxml=it.xml", "test_it.py"]
    done = subprocess.run(  # noqa: PLW1510 - the exit code is asserted
        [sys.executable, "-m", *command], cwd=tmp_path, capture_output=True, text=True
    )
    assert 1 == done.returncode, done.stdout
    fails, starts = checks._reasons(tmp_path)
    assert fails.startswith("test_it::test_fails: AssertionError: sums")
    assert starts == 'test_it::test_never_starts: failed on setup with "OSError: no disk"'
