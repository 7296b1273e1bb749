"""Every peer runs in its own environment and comes to the touch of the stream."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.book import Contestant, _Expected
from bench.book_cases import Ready, Sample, at_once, kinds, messages_of
from bench.peer_process import PEERS, PeerCase, PeerProcess
from bench.stream import Stream, save
from lob.errors import Fault
from tests.bench.conftest import PEERS_PYTHON

CASES = {case.name: case for case in PEERS}


@pytest.fixture(scope="module")
def kept(stream: Stream, tmp_path_factory: pytest.TempPathFactory) -> Stream:
    """The stream in a file, which peers read."""
    found = replace(stream, path=tmp_path_factory.mktemp("peers") / "stream.npz")
    save(found)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(CASES))
def test_peer_comes_to_the_right_touch(name: str, kept: Stream, root: Path, tmp_path: Path) -> None:
    """Two rounds over a prefix end at the touch that our own book has there."""
    case = CASES[name]._replace(limit=5_000)
    tables = messages_of(kept.commands), messages_of(kept.feed)
    expected = _Expected(kinds()[-1], kept, *tables).after(case.kind, case.limit)
    peer = PeerProcess(PEERS_PYTHON, root, tmp_path, kept.path, case)
    try:
        peer.wait_ready()
        rounds = [peer.round(at_once) for _ in range(2)]
    finally:
        peer.close()
    assert [expected, expected] == [sample.touch for sample in rounds]
    assert all(sample.figures["messages_per_second"] > 0 for sample in rounds)


@pytest.mark.slow
def test_peer_that_fails_is_a_fault_with_its_last_line(
    kept: Stream, root: Path, tmp_path: Path
) -> None:
    """A case that does not exist ends the peer's process; the fault has its own words."""
    case = PeerCase("bourse", "nothing", "feed", 10)
    peer = PeerProcess(PEERS_PYTHON, root, tmp_path, kept.path, case)
    try:
        with pytest.raises(Fault, match=r"bourse nothing: .*invalid choice"):
            peer.wait_ready()
    finally:
        peer.close()


def test_a_failed_contestant_says_so_and_goes_no_further() -> None:
    """A fault in a round is kept as the contestant's failure; later rounds do not run it."""
    calls = []

    def run(_ready: Ready) -> Sample:
        calls.append(1)
        raise Fault("gone")

    contestant = Contestant("x", "x", "feed", 1, run, None)
    contestant.round(at_once)
    contestant.round(at_once)
    assert calls == [1]
    assert contestant.document()["failure"] == "gone"
