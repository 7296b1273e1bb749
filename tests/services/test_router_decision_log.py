"""The decision log when disk, clock, folder or neighbours are not as they should be."""

import errno
import fcntl
import json
import os
import shutil
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from services.router import decision_log, decision_segments
from services.router.decision_segments import Segments, segments
from tests.rollout.recorded import request
from tests.services.test_router_decisions import count, decisions_in, made, opened
from touchstone.kit.codec import (
    decode_fill,
    encode_execution_request,
    fill_to_json,
    receive_execution_request,
)
from touchstone.rollout.decisions import DecisionRecord, decode_line, shown_json, to_json


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until something holds, five seconds at most."""
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def numbers_in(folder: Path) -> list[int]:
    """Return the numbers of the decisions in a folder, in its order."""
    return [int(record.id, 16) for record in decisions_in(folder)]


class FullDisk:
    """A file on a disk that takes so many bytes more."""

    def __init__(self, file: Any, room: int) -> None:
        self._file = file
        self.room = room

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, data: memoryview) -> int:
        """Write what there is room for."""
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        written: int = self._file.write(data[: self.room])
        self.room -= written
        return written


def test_a_full_disk_leaves_one_whole_segment(tmp_path: Path) -> None:
    """Not a new file for each attempt, nor half a line in the middle once there is room again."""
    kept = Segments(tmp_path, bytes_max=1 << 30, segment_bytes=1 << 20, age_seconds_max=1e9)
    kept.append(b"one\n")
    disk = FullDisk(kept._file, room=2)
    kept._file = disk  # type: ignore[assignment]
    for _ in range(50):
        with pytest.raises(OSError, match="No space left"):
            kept.append(b"two\n")
    disk.room = 1_000
    kept.append(b"three\n")
    kept.close()
    (path,) = segments(tmp_path)
    assert b"one\nthree\n" == path.read_bytes()


def test_a_segment_that_has_nothing_yet_is_used_again(tmp_path: Path) -> None:
    """Its configurations still have to go ahead of the first line."""
    kept = Segments(tmp_path, bytes_max=1 << 30, segment_bytes=1 << 20, age_seconds_max=1e9)
    kept._next()
    kept._file = FullDisk(kept._file, room=0)  # type: ignore[assignment]
    for _ in range(3):
        with pytest.raises(OSError, match="No space left"):
            kept.append(b"one\n")
        assert kept.is_fresh
    assert 1 == len(segments(tmp_path))
    kept.close()


def test_a_segment_that_another_router_writes_to_stays(tmp_path: Path) -> None:
    """Two routers, one folder: the quiet one's open segment is the oldest."""
    with opened(tmp_path) as (quiet, _):
        quiet.record(made(1))
        wait_until(lambda: len(segments(tmp_path)) == 1)
        with opened(tmp_path, segment_bytes=4_000, bytes_max=10_000) as (busy, metrics):
            for number in range(100, 140):
                busy.record(made(number))
            wait_until(lambda: count(metrics.lines["written"]) >= 40)
        assert 0 < count(metrics.segments_dropped)
        quiet.record(made(2))
    assert [1, 2] == [number for number in numbers_in(tmp_path) if number < 100]


def test_a_folder_that_is_removed_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within the second in which written lines are looked after."""
    monkeypatch.setattr(decision_segments, "SYNC_SECONDS", 0.01)
    folder = tmp_path / "decisions"
    with opened(folder) as (log, metrics):
        log.record(made(1))
        wait_until(lambda: count(metrics.lines["written"]) > 0)
        shutil.rmtree(folder)
        log.record(made(2))
        time.sleep(0.2)
        log.record(made(3))
    assert [3] == numbers_in(folder)


def test_what_is_written_reaches_the_disk_without_another_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second after the last one, however long nothing follows."""
    synced: list[int] = []
    monkeypatch.setattr(decision_segments, "SYNC_SECONDS", 0.1)
    monkeypatch.setattr(decision_segments, "_sync", synced.append)
    with opened(tmp_path) as (log, metrics):
        log.record(made(1))
        wait_until(lambda: count(metrics.lines["written"]) > 0)
        log.record(made(2))
        wait_until(lambda: len(synced) >= 2)
        time.sleep(0.3)
        assert 2 == len(synced)


def test_a_clock_that_goes_back_keeps_the_order(tmp_path: Path) -> None:
    """A segment's name comes after those that are there; the newest is not the one that goes."""
    clock = [2_000_000_000.0]
    limits = {"bytes_max": 25, "segment_bytes": 10, "age_seconds_max": 1e12}
    kept = Segments(tmp_path, wall_clock=lambda: clock[0], **limits)  # type: ignore[arg-type]
    for number in range(5):
        kept.append(b"%09d\n" % number)
        clock[0] -= 3_600
    kept.close()
    assert [b"%09d\n" % n for n in (2, 3, 4)] == [p.read_bytes() for p in segments(tmp_path)]


def test_a_segment_is_for_its_owner_alone(tmp_path: Path) -> None:
    """Orders and accounts are in it."""
    with opened(tmp_path) as (log, _):
        log.record(made(1))
    (path,) = segments(tmp_path)
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)


def test_a_defect_of_the_writer_keeps_nothing_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on with a pause, stops when asked to, and does not fill the log."""
    tries: list[float] = []

    def fail(_self: Segments) -> None:
        tries.append(time.monotonic())
        raise RuntimeError("a defect")

    monkeypatch.setattr(Segments, "keep_up", fail)
    with opened(tmp_path) as (log, _):
        log.record(made(1))
        time.sleep(0.3)
        started = time.monotonic()
    assert time.monotonic() - started < 2
    assert len(tries) < 30
    assert [1] == numbers_in(tmp_path)


def test_large_orders_that_wait_are_bounded_by_their_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty thousand requests of a megabyte would be all of the memory."""
    padded = encode_execution_request(request("AAPL")) + b" " * 100_000
    large = made(1)._replace(request=receive_execution_request(padded))
    monkeypatch.setattr(decision_log, "RECENT_BYTES_MAX", 250_000)
    with opened(tmp_path, start=False) as (log, metrics):
        log._queue_bytes_max = 5_000_000
        for number in range(100):
            log.record(large._replace(identity=f"{number:032x}"))
        assert 1 < log.depth < 10
        waiting = log.depth
        assert 100 - waiting == count(metrics.lines["queue_full"])
        log.start()
        wait_until(lambda: log.depth == 0)
        log.record(made(200))
        wait_until(lambda: len(log.recent()) == 3)
    assert [*range(waiting), 200] == numbers_in(tmp_path)


def test_many_that_wait_are_written_in_larger_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the log keeps up where the loop gives it few turns."""
    pieces: list[int] = []
    append = Segments.append

    def look(self: Segments, encoded: bytes) -> None:
        pieces.append(encoded.count(b'"kind":"decision"'))
        append(self, encoded)

    monkeypatch.setattr(Segments, "append", look)
    with opened(tmp_path, queue_size=20_000, start=False) as (log, _):
        for number in range(9_000):
            log.record(made(number))
        log.start()
        wait_until(lambda: log.depth == 0)
    assert (decision_log.BATCH_MAX, decision_log.BATCH_MIN) == (max(pieces), pieces[-2])
    assert 9_000 == sum(pieces)


def test_closing_does_not_wait_for_a_disk_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process ends all the same; what was not written is lost, as with a kill."""
    monkeypatch.setattr(decision_log, "CLOSE_SECONDS_MAX", 0.2)
    go = threading.Event()
    monkeypatch.setattr(Segments, "append", lambda _self, _encoded: go.wait(10))
    with opened(tmp_path) as (log, _):
        log.record(made(1))
        time.sleep(0.1)
        started = time.perf_counter()
        for number in range(2_000):
            log.record(made(number))
        assert time.perf_counter() - started < 2
        started = time.monotonic()
        log.close()
        assert time.monotonic() - started < 2
    go.set()


def test_a_segment_is_written_where_there_are_no_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some network file systems have none."""

    def refuse(_file: object, _how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with opened(tmp_path, segment_bytes=2_000, bytes_max=4_000) as (log, metrics):
        for number in range(20):
            log.record(made(number))
    assert 19 in numbers_in(tmp_path)
    assert 0 < count(metrics.segments_dropped)


def test_a_fill_is_on_one_line_however_it_came(tmp_path: Path) -> None:
    """JSON may have the ends of lines between its tokens; in the log one would end the record."""
    wanted = made(1)
    assert wanted.fill is not None
    came = decode_fill(json.dumps(fill_to_json(wanted.fill), indent=1).encode())
    with opened(tmp_path) as (log, metrics):
        log.record(wanted._replace(fill=came))
        wait_until(lambda: count(metrics.lines["written"]) > 0)
    (record,) = decisions_in(tmp_path)
    assert fill_to_json(wanted.fill) == record.fill


def test_a_line_is_shown_as_it_is(tmp_path: Path) -> None:
    """Without reading it, which would keep the loop from answering while a thousand are shown."""
    with opened(tmp_path) as (log, metrics):
        for number in range(100):
            log.record(made(number, symbol="MSFT" if number % 2 else "aapl"))
        wait_until(lambda: count(metrics.lines["written"]) > 99)
        newest = log.recent("AAPL")
        assert 100 == len(log.recent())
    assert 50 == len(newest)
    record = decode_line(newest[0])
    assert isinstance(record, DecisionRecord)
    assert 98 == int(record.id, 16)
    assert to_json(record) == json.loads(shown_json(newest[0]))
