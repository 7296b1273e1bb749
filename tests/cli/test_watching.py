"""Starting parts again: later each time that one lives shortly, and only where that is asked."""

import asyncio
import contextlib
import json
import sys
from pathlib import Path

import pytest

from touchstone.cli import watching
from touchstone.cli.ports import Ports
from touchstone.cli.stack import Part, Stack

NOBODY = "http://127.0.0.1:9/readyz"


async def watched(folder: Path, script: str, seconds: float, *, restart: bool = True) -> None:
    """Watch one part that runs a script for so long."""
    stack = Stack(Ports.free(), folder, report=lambda _name, _what: None)
    stack.logs.mkdir()
    command = (sys.executable, "-I", "-c", script)
    stack.running["router"] = await stack._spawn(Part("router", command, "", NOBODY))
    watch = watching.Watch(stack, restart=restart, json_output=True)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await watch.run()
    await stack.stop()


def events(capsys: pytest.CaptureFixture[str], kind: str) -> list[dict[str, object]]:
    """Return the events of a kind that were printed."""
    documents = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [document for document in documents if document["event"] == kind]


async def test_what_never_stays_is_started_later_each_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice as late, up to a bound; each death is told with how it ended."""
    monkeypatch.setattr(watching, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(watching, "PAUSE_SECONDS_MAX", 0.04)
    await watched(tmp_path, "raise SystemExit(3)", 3.0)
    died = events(capsys, "died")
    assert [0.01, 0.02, 0.04, 0.04] == [one["restarts_in_seconds"] for one in died[:4]]
    assert {"ended with exit code 3"} == {one["how"] for one in died}


async def test_who_lived_long_begins_with_the_shortest_pause(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A death now and then is none of a part that cannot start."""
    monkeypatch.setattr(watching, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(watching, "STEADY_SECONDS", 0.0)
    await watched(tmp_path, "raise SystemExit(3)", 3.0)
    assert [0.01, 0.01, 0.01] == [one["restarts_in_seconds"] for one in events(capsys, "died")[:3]]


async def test_where_it_is_not_asked_for_a_part_stays_away(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Told once, with what it takes to have it back."""
    await watched(tmp_path, "raise SystemExit(3)", 2.0, restart=False)
    captured = capsys.readouterr()
    assert "router ended with exit code 3 and stays away until `down` and `up`" in captured.err
    (died,) = [json.loads(line) for line in captured.out.splitlines()]
    assert ("died", None) == (died["event"], died["restarts_in_seconds"])


async def test_a_part_that_is_just_being_started_is_stopped_as_well(tmp_path: Path) -> None:
    """A stop that comes while the system makes the process must not forget it."""
    stack = Stack(Ports.free(), tmp_path, report=lambda _name, _what: None)
    stack.logs.mkdir()
    command = (sys.executable, "-I", "-c", "import time; time.sleep(60)")
    stack.running["router"] = first = await stack._spawn(Part("router", command, "", NOBODY))
    first.process.kill()
    await first.process.wait()
    restarting = asyncio.ensure_future(stack.restart("router"))
    await asyncio.sleep(0)
    restarting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await restarting
    second = stack.running["router"]
    assert second.process.pid != first.process.pid
    await stack.stop()
    assert second.process.returncode is not None
