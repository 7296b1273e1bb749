# ruff: noqa: INP001
"""Generate the committed protobuf code: `python protos/generate.py [FOLDER]`.

Writes `touchstone/v1/*_pb2.py`, `*_pb2.pyi` and `*_pb2_grpc.py` below FOLDER (default `src`).
"""

import sys
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent
DEFAULT_TARGET = ROOT.parent / "src"


def generate(target: Path) -> int:
    """Write the code below `target` and return protoc's exit code."""
    target.mkdir(parents=True, exist_ok=True)
    sources = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.proto"))
    arguments = [
        "protoc",
        f"--proto_path={ROOT}",
        f"--proto_path={files('grpc_tools') / '_proto'}",
        f"--python_out={target}",
        f"--pyi_out={target}",
        f"--grpc_python_out={target}",
        *sources,
    ]
    return int(protoc.main(arguments))


if __name__ == "__main__":
    sys.exit(generate(Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_TARGET))
