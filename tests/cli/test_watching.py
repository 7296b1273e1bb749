"""Starting parts again: later each time that one lives shortly, and only where that is asked."""

import asyncio
import contextlib
import errno
import json
import sys
from pathlib import Path

import pytest

from touchstone.cli import watching
from touchstone.cli.ports import Ports
from touchstone.cli.stack import Part, Stack

NOBODY = "http://127.0.0.1:9/readyz"


async def running(folder: Path, script: str, python: str = sys.executable) -> Stack:
    """Return a stack whose only part, called a router, has begun to run a script."""
    stack = Stack(Ports.free(), folder, report=lambda _name, _what: None)
    stack.logs.mkdir()
    command = (python, "-I", "-c", script)
    stack.running["router"] = await stack._spawn(Part("router", command, "", NOBODY))
    return stack


async def watched(folder: Path, seconds: float, *, restart: bool = True) -> None:
    """Watch for so long a part that ends at once."""
    stack = await running(folder, "raise SystemExit(3)")
    watch = watching.Watch(stack, restart=restart, json_output=True)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await watch.run()
    await stack.stop()


@pytest.mark.parametrize(
    ("settings", "pauses"),
    [
        # Later each time, up to a bound.
        ({"PAUSE_SECONDS_MAX": 0.04}, [0.01, 0.02, 0.04, 0.04]),
        # Who lived long begins anew: a death now and then is none of a part that cannot start.
        ({"STEADY_SECONDS": 0.0}, [0.01, 0.01, 0.01]),
    ],
)
async def test_what_dies_is_started_after_a_pause(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, float],
    pauses: list[float],
) -> None:
    """The pause doubles while it does not live long; each death is told with how it ended."""
    for name, value in {"PAUSE_SECONDS": 0.01, **settings}.items():
        monkeypatch.setattr(watching, name, value)
    await watched(tmp_path, 3.0)
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    died = [event for event in events if event["event"] == "died"]
    assert pauses == [one["restarts_in_seconds"] for one in died[: len(pauses)]]
    assert {"ended with exit code 3"} == {one["how"] for one in died}


async def test_where_it_is_not_asked_for_a_part_stays_away(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Told once, with what it takes to have it back."""
    await watched(tmp_path, 2.0, restart=False)
    captured = capsys.readouterr()
    assert "router ended with exit code 3 and stays away until `down` and `up`" in captured.err
    (died,) = [json.loads(line) for line in captured.out.splitlines()]
    assert ("died", None) == (died["event"], died["restarts_in_seconds"])


async def test_what_cannot_be_started_is_tried_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The death is told once; each failed try with its reason; then it is there."""
    monkeypatch.setattr(watching, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(watching, "PAUSE_SECONDS_MAX", 0.02)
    python = tmp_path / "python"
    python.symlink_to(sys.executable)
    stack = await running(tmp_path, "import time; time.sleep(60)", str(python))
    first = stack.running["router"].process
    python.unlink()
    watch = asyncio.ensure_future(watching.Watch(stack, restart=True, json_output=False).run())
    first.kill()
    told = ""
    async with asyncio.timeout(20):
        while told.count("could not be started again") < 2:
            await asyncio.sleep(0.01)
            told += capsys.readouterr().err
        python.symlink_to(sys.executable)
        while "router was started again" not in told:
            await asyncio.sleep(0.01)
            told += capsys.readouterr().err
    watch.cancel()
    await asyncio.wait([watch])
    await stack.stop()
    assert 1 == told.count("was ended by SIGKILL")
    assert "started again: No such file or directory; next try in 0.02 s" in told


async def test_a_part_that_runs_again_is_not_started_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the run file could not say so: a full disk is no reason for a second copy."""
    monkeypatch.setattr(watching, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(watching, "PAUSE_SECONDS_MAX", 0.02)
    stack = await running(tmp_path, "import time; time.sleep(60)")
    first = stack.running["router"].process

    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(stack, "_write_run_file", full)
    watch = asyncio.ensure_future(watching.Watch(stack, restart=True, json_output=False).run())
    first.kill()
    told = ""
    async with asyncio.timeout(20):
        while "router was started again" not in told:
            await asyncio.sleep(0.01)
            told += capsys.readouterr().err
    second = stack.running["router"].process
    await asyncio.sleep(0.3)
    assert second is stack.running["router"].process
    assert "the run file does not tell of router's new process: No space left on device" in told
    watch.cancel()
    await asyncio.wait([watch])
    await stack.stop()


async def test_a_part_that_is_just_being_started_is_stopped_as_well(tmp_path: Path) -> None:
    """A stop that comes while the system makes the process must not forget it."""
    stack = await running(tmp_path, "import time; time.sleep(60)")
    first = stack.running["router"]
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
