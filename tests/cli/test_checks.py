"""What `touchstone test` gives the checks it runs: nothing compiled twice, files in memory."""

import os
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
