"""The committed protobuf code is what the protos say."""

import subprocess
import sys
from pathlib import Path


def test_generated_code_is_current(root: Path, tmp_path: Path) -> None:
    """Generating again gives the committed files, byte for byte."""
    command = [sys.executable, str(root / "protos" / "generate.py"), str(tmp_path)]
    subprocess.run(command, check=True, timeout=60)
    fresh = {path.name: path.read_bytes() for path in (tmp_path / "touchstone" / "v1").iterdir()}
    folder = root / "src" / "touchstone" / "v1"
    committed = {path.name: path.read_bytes() for path in folder.glob("*_pb2*")}
    assert sorted(committed) == sorted(fresh)
    assert [] == [name for name, text in fresh.items() if committed[name] != text]
