"""Streams small enough for a test; the peers are tested where their environment is."""

import pytest

from bench.stream import SIZES, Stream, generate
from tests.conftest import ROOT

PEERS_PYTHON = ROOT / ".touchstone" / "bench" / "peers-venv" / "bin" / "python"

collect_ignore = [] if PEERS_PYTHON.exists() else ["test_peers.py"]


@pytest.fixture(scope="session")
def stream() -> Stream:
    """Return 20,000 commands into the smallest book."""
    return generate(SIZES["2k"], 20_000)
