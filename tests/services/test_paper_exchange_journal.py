"""The journal's files: what was appended is read back, a torn end is cut, damage is named."""

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from touchstone.kit.disk import Disk, PythonDisk, open_disk
from touchstone.kit.framing import FILE_HEADER, PAYLOAD_BYTES_MAX, Damaged, frame
from touchstone.kit.journal import Journal, JournalFailed, Reading, segment_path, segments

PAYLOADS = [b'["Advance",1,2,null]', b"", b"\xf6TR\n in the middle", b"x" * 300]


def written(folder: Path, payloads: list[bytes], first: int = 0) -> Path:
    """Write a journal of one file and return its path."""
    journal = Journal(folder, first, sync=False)
    for payload in payloads:
        journal.append(payload)
    journal.close()
    return segment_path(folder, first)


def read(folder: Path, number: int = 0) -> tuple[list[bytes], Reading]:
    """Return the payloads from a number on, and what else reading found."""
    reading = Reading(folder, number)
    return [kept.payload for kept in reading], reading


def test_what_was_appended_is_read_back(tmp_path: Path) -> None:
    """Records come back in order over files, from any number on."""
    journal = Journal(tmp_path, 7, sync=False)
    for place, payload in enumerate(PAYLOADS):
        assert 7 + place == journal.append(payload)
        assert 8 + place == journal.rotate()
        assert 8 + place == journal.rotate()
    journal.close()
    assert [7, 8, 9, 10, 11] == [number for number, _ in segments(tmp_path)]
    for skipped in range(len(PAYLOADS) + 1):
        found, reading = read(tmp_path, 7 + skipped)
        assert PAYLOADS[skipped:] == found
        assert (11, None) == (reading.number, reading.torn)


def test_a_torn_end_is_left_out_wherever_it_is_torn(tmp_path: Path) -> None:
    """Cut at any byte, all records that stand whole before the cut are read, and no others."""
    path = written(tmp_path, PAYLOADS)
    content = path.read_bytes()
    ends = [FILE_HEADER.size]
    for number, payload in enumerate(PAYLOADS):
        ends.append(ends[-1] + len(frame(number, payload)))
    for size in range(len(content)):
        path.write_bytes(content[:size])
        found, reading = read(tmp_path)
        whole = sum(end <= size for end in ends[1:])
        assert PAYLOADS[:whole] == found
        begins = ends[whole] if size >= FILE_HEADER.size else 0
        torn = None if size == begins else (path, begins, size - begins)
        assert torn == reading.torn


@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_a_changed_bit_is_found(
    tmp_path_factory: pytest.TempPathFactory, at: int, bit: int
) -> None:
    """A bit that flipped is damage with file and offset; in the last record it looks torn."""
    folder = tmp_path_factory.mktemp("journal")
    path = written(folder, PAYLOADS)
    content = bytearray(path.read_bytes())
    at %= len(content)
    content[at] ^= 1 << bit
    path.write_bytes(content)
    last = len(content) - len(frame(3, PAYLOADS[3]))
    if at >= last:
        found, reading = read(folder)
        assert (PAYLOADS[:3], (path, last, len(content) - last)) == (found, reading.torn)
        return
    with pytest.raises(Damaged, match=r"journal-0+\.log") as raised:
        read(folder)
    if at >= FILE_HEADER.size:
        assert "byte " in str(raised.value)
        assert "truncate -s" in str(raised.value)


def test_zeros_at_the_end_are_torn(tmp_path: Path) -> None:
    """A file that the disk had made longer before the bytes were there ends where they stop."""
    path = written(tmp_path, PAYLOADS)
    size = path.stat().st_size
    with path.open("ab") as file:
        file.write(bytes(4_096))
    found, reading = read(tmp_path)
    assert (PAYLOADS, (path, size, 4_096)) == (found, reading.torn)


def test_a_missing_file_is_damage(tmp_path: Path) -> None:
    """Where a file is gone, reading says which record is missing."""
    journal = Journal(tmp_path, 0, sync=False)
    for payload in PAYLOADS:
        journal.append(payload)
        journal.rotate()
    journal.close()
    segment_path(tmp_path, 2).unlink()
    with pytest.raises(Damaged, match=r"record 2 is damaged|record 3; 2 is missing"):
        read(tmp_path)


def test_a_torn_file_in_the_middle_is_damage(tmp_path: Path) -> None:
    """Only the last file may be torn: the others were whole before it was begun."""
    path = written(tmp_path, PAYLOADS)
    path.write_bytes(path.read_bytes()[:-1])
    written(tmp_path, PAYLOADS, first=4)
    with pytest.raises(Damaged, match="record 3 is damaged"):
        read(tmp_path)


def test_what_is_no_journal_is_said(tmp_path: Path) -> None:
    """Another file under the name, another version, a header of another number: each is named."""
    path = written(tmp_path, PAYLOADS)
    for content, said in (
        (b"not a journal, but long enough to be one", "no journal of Touchstone"),
        (FILE_HEADER.pack(b"TSXJRNL\n", 9, 0), "journal version 9"),
        (FILE_HEADER.pack(b"TSXJRNL\n", 1, 5), "begins with record 5"),
    ):
        path.write_bytes(content)
        with pytest.raises(Damaged, match=said):
            read(tmp_path)


def test_a_file_is_never_written_over(tmp_path: Path) -> None:
    """A journal does not begin in a file that is there."""
    written(tmp_path, PAYLOADS)
    with pytest.raises(JournalFailed, match="File exists"):
        Journal(tmp_path, 0, sync=False)


def test_too_long_a_record_is_refused(tmp_path: Path) -> None:
    """A record that could not be read back is not written, and the journal goes on."""
    journal = Journal(tmp_path, 0, sync=False)
    with pytest.raises(ValueError, match="allowed"):
        journal.append(bytes(PAYLOAD_BYTES_MAX + 1))
    journal.append(b"fits")
    journal.close()
    assert [b"fits"] == read(tmp_path)[0]


async def test_many_answers_wait_for_one_sync(tmp_path: Path) -> None:
    """Whatever is appended while the disk is busy shares the next sync."""
    journal = Journal(tmp_path, 0, sync=True)

    async def one(number: int) -> None:
        journal.append(b"%d" % number)
        await journal.kept()

    await asyncio.gather(*(one(number) for number in range(100)))
    assert 1 <= journal.syncs <= 3
    await journal.kept()
    journal.rotate()
    await one(100)
    journal.close()
    assert 101 == len(read(tmp_path)[0])


async def test_one_that_stops_waiting_harms_no_other(tmp_path: Path) -> None:
    """A client that leaves while the disk is waited for takes nobody with it."""
    journal = Journal(tmp_path, 0, sync=True)
    journal.append(b"a")
    waiting = [asyncio.ensure_future(journal.kept()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [True, False, False] == [isinstance(r, asyncio.CancelledError) for r in results]
    journal.close()


async def test_closing_lets_go_who_waits(tmp_path: Path) -> None:
    """A journal that is closed has synced what there was, and says so to whoever waited."""
    journal = Journal(tmp_path, 0, sync=True)
    waiting = []
    for payload in (b"a", b"b"):
        journal.append(payload)
        waiting.append(asyncio.ensure_future(journal.kept()))
        await asyncio.sleep(0)
    journal.close()
    assert [None, None] == await asyncio.gather(*waiting)
    await asyncio.sleep(0.01)
    assert [b"a", b"b"] == read(tmp_path)[0]


@pytest.mark.parametrize("disk", [open_disk, PythonDisk])
async def test_a_failed_sync_closes_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disk: Callable[[], Disk]
) -> None:
    """When the disk fails, all who wait are told, and nothing is taken any more.

    It fails for a pipe, of which there is nothing to sync.
    """
    monkeypatch.setattr("touchstone.kit.journal.open_disk", disk)
    journal = Journal(tmp_path, 0, sync=True)
    reading, writing = os.pipe()
    monkeypatch.setattr(journal, "_file", writing)
    journal.append(b"a")
    results = await asyncio.gather(*(journal.kept() for _ in range(3)), return_exceptions=True)
    assert [JournalFailed] * 3 == [type(result) for result in results]
    with pytest.raises(JournalFailed, match="Invalid argument"):
        journal.append(b"b")
    with pytest.raises(JournalFailed, match="Invalid argument"):
        journal.rotate()
    with pytest.raises(JournalFailed):
        await journal.kept()
    monkeypatch.undo()
    journal.close()
    os.close(reading)
    os.close(writing)


def test_a_full_disk_closes_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the disk did not take whole is torn off when it is read, and nothing follows it."""
    journal = Journal(tmp_path, 0, sync=False)
    journal.append(b"kept")
    room = [9]
    write = os.write

    def nearly_full(file: int, content: bytes) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = write(file, content[: room[0]])
        room[0] -= written
        return written

    monkeypatch.setattr("touchstone.kit.journal.os.write", nearly_full)
    for _ in range(2):
        with pytest.raises(JournalFailed, match="No space left on device"):
            journal.append(b"lost")
    monkeypatch.undo()
    with pytest.raises(JournalFailed, match="No space left on device"):
        journal.append(b"lost, too")
    journal.close()
    found, reading = read(tmp_path)
    assert [b"kept"] == found
    assert reading.torn is not None
    assert 9 == reading.torn[2]
