"""The L3 configuration is read again while requests come, and none of them notices."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from lob.errors import ConfigError, Fault, InvariantViolation
from services.simulator import reload
from services.simulator.configured import read
from services.simulator.executions import Executions
from tests.services.simulator_harness import Running, request, running_simulator
from tests.services.test_simulator_process import free_port, process, until_ready
from touchstone.kit.control import SIMULATOR_SCOPE, ControlStore
from touchstone.kit.simulator_client import SimulatorClient
from touchstone.kit.simulator_stream import SimulatorStream
from touchstone.v1 import execution_pb2

Eventually = Callable[..., Awaitable[float]]
FAST, SLOW = "latency: {order_us: 100}\n", "latency: {order_us: 900}\n"


@pytest.fixture(name="file")
def config_file(tmp_path: Path) -> Path:
    """A configuration that can be changed."""
    file = tmp_path / "l3.yaml"
    file.write_text(FAST)
    return file


def write(file: Path, text: str) -> None:
    """Replace a file as a whole, so that nobody reads half of it."""
    fresh = file.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(file)


def remove(file: Path) -> None:
    """Take a file away."""
    file.unlink()


def digest_of(fill: Any) -> str:
    """Return the configuration that a fill names."""
    return str(fill.attribution["models"]["config"])


def sample(running: Running, name: str, **labels: str) -> float | None:
    """Return a metric."""
    return running.components.registry.get_sample_value(name, labels)


async def test_what_follows_a_reload_is_made_under_the_new_file(file: Path) -> None:
    """Fills, estimates, Describe and metrics name it; reading it twice changes nothing."""
    async with running_simulator(l3_config_path=file) as running:
        before = digest_of(await running.client.execute(request(), 1))
        write(file, SLOW)
        assert before == digest_of(await running.client.execute(request(), 1))
        assert None is await running.components.reloads.reload("a test")
        after = digest_of(await running.client.execute(request(), 1))
        assert before != after
        told = await running.executions.Describe(execution_pb2.DescribeRequest(), timeout=5)
        assert (after, 2) == (told.config_hash, told.config_version)
        assert '"order_us":900.0' in told.config_json
        assert 1 == sample(running, "l3_config_info", digest=after)
        assert None is sample(running, "l3_config_info", digest=before)
        assert None is await running.components.reloads.reload("a test")
        assert 2 == sample(running, "l3_config_version")
        assert 2 == sample(running, "config_reloads_total", outcome="applied")


async def test_a_bad_file_is_refused_and_the_old_one_stays(file: Path) -> None:
    """The fault names the file, the key, the value and what is allowed; fills go on as before."""
    async with running_simulator(l3_config_path=file) as running:
        before = digest_of(await running.client.execute(request(), 1))
        write(file, "latency: {order_us: -3}\n")
        refused = await running.components.reloads.reload("a test")
        assert isinstance(refused, ConfigError)
        for part in (str(file), "latency.order_us", "-3"):
            assert part in str(refused)
        remove(file)
        assert isinstance(await running.components.reloads.reload("a test"), Fault)
        assert before == digest_of(await running.client.execute(request(), 1))
        assert 2 == sample(running, "config_reloads_total", outcome="refused")
        assert 1 == sample(running, "l3_config_version")


async def test_providers_that_fail_the_check_are_not_taken_over(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A configuration is checked before it is in force."""
    async with running_simulator(l3_config_path=file) as running:
        write(file, SLOW)
        monkeypatch.setattr(reload, "problem_of", lambda *_: "wrong answer")
        refused = await running.components.reloads.reload("a test")
        assert isinstance(refused, InvariantViolation)
        assert "wrong answer" in str(refused)
        assert 1 == running.components.executions.current.version


async def test_no_request_is_dropped_while_files_come_and_go(file: Path) -> None:
    """A continuous load over every call gets a fill for each request, of one of the two files."""
    stop = asyncio.Event()
    digests: set[str] = set()
    answered = 0

    def take(fills: list[Any]) -> None:
        nonlocal answered
        for fill in fills:
            assert not isinstance(fill, Exception), fill
            digests.add(digest_of(fill))
            answered += 1

    async with running_simulator(l3_config_path=file, max_in_flight=1_000) as running:
        stream = SimulatorStream(running.client)

        async def one_by_one() -> None:
            while not stop.is_set():
                take([await running.client.execute(request(), answered)])

        async def in_batches() -> None:
            while not stop.is_set():
                fills = await running.client.execute_batch([request()] * 20, answered)
                take(fills)
                # A batch ends under the configuration that it began with.
                assert 1 == len({digest_of(fill) for fill in fills})

        async def on_the_stream() -> None:
            while not stop.is_set():
                take(await stream.execute_many([request()] * 20, answered))

        load = [asyncio.create_task(work()) for work in (one_by_one, in_batches, on_the_stream)]
        for number in range(40):
            write(file, SLOW if number % 2 == 0 else FAST)
            assert None is await running.components.reloads.reload("a test")
            await asyncio.sleep(0.005)
        stop.set()
        await asyncio.gather(*load)
        await stream.close()
        assert 41 == sample(running, "l3_config_version")
    assert 2 == len(digests)
    assert answered > 100


async def test_what_is_under_way_ends_under_what_it_began_with(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An execution that a reload overtakes in its thread names the old configuration."""
    began, go_on = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    real = Executions._run

    def slow(self: Executions, *arguments: Any) -> Any:
        loop.call_soon_threadsafe(began.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(10)
        return real(self, *arguments)

    async with running_simulator(l3_config_path=file, inline_seconds_max=0.0) as running:
        before = digest_of(await running.client.execute(request(), 1))
        monkeypatch.setattr(Executions, "_run", slow)
        under_way = asyncio.create_task(running.client.execute(request(), 1))
        await began.wait()
        write(file, SLOW)
        assert None is await running.components.reloads.reload("a test")
        go_on.set()
        assert before == digest_of(await under_way)
        assert before != digest_of(await running.client.execute(request(), 1))


async def test_a_new_generation_of_the_control_state_asks_for_a_reload(
    file: Path, redis_url: str, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever writes the record has every simulator read its file again, at once."""
    monkeypatch.setenv("TOUCHSTONE_REDIS_URL", redis_url)
    async with (
        running_simulator(l3_config_path=file, follow_control=True) as running,
        ControlStore(redis_url) as store,
    ):
        for number, text in enumerate((SLOW, FAST), 2):
            write(file, text)
            await store.write(
                SIMULATOR_SCOPE,
                state="RELOAD",
                document={},
                actor="a test",
                reason="another file",
                expected_generation=None,
            )
            await eventually(
                lambda wanted=number: running.components.executions.current.version == wanted
            )
        assert 100.0 == running.components.executions.current.config.latency.order_us


async def test_without_redis_it_runs_and_reloads_all_the_same(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control that nobody can be asked for keeps nothing from working."""
    monkeypatch.setenv("TOUCHSTONE_REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")
    async with running_simulator(l3_config_path=file, follow_control=True) as running:
        write(file, SLOW)
        assert None is await running.components.reloads.reload("a test")
        assert "FILLED" == (await running.client.execute(request(), 1)).status


async def test_the_command_asks_every_simulator_that_follows(
    file: Path,
    redis_url: str,
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
    root: Path,
) -> None:
    """`touchstone config reload` needs a reason and a right file, and says what it asked."""
    monkeypatch.setenv("TOUCHSTONE_REDIS_URL", redis_url)
    monkeypatch.setenv("TOUCHSTONE_SIMULATOR_L3_CONFIG_PATH", str(file))
    monkeypatch.setenv("TOUCHSTONE_HOME", str(root))

    async def command(*arguments: str) -> tuple[int | None, str]:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "touchstone.cli", "config", "reload", *arguments),
            cwd=root,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await asyncio.wait_for(child.communicate(), 30)
        return child.returncode, said.decode()

    async with running_simulator(l3_config_path=file, follow_control=True) as running:
        write(file, SLOW)
        code, said = await command("--reason", "slower", "--json")
        assert 0 == code, said
        await eventually(lambda: running.components.executions.current.version == 2)
        digest = running.components.executions.current.digest
        assert {"generation": 1, "config": digest} == json.loads(said)
        assert (2, "--reason") == (
            (refused := await command())[0],
            refused[1].split(":")[1].strip(),
        )
        write(file, "latency: {cv: -1}\n")
        code, said = await command("--reason", "wrong")
        assert 2 == code
        assert "latency.cv" in said


async def test_sighup_reads_the_file_again(file: Path) -> None:
    """The real process takes over the new file and goes on; a bad one is refused."""
    port, metrics_port = free_port(), free_port()
    async with process(port=port, metrics_port=metrics_port, l3_config_path=file) as child:
        await until_ready(metrics_port)
        async with SimulatorClient(f"127.0.0.1:{port}", deadline_seconds=10.0) as client:
            before = digest_of(await client.execute(request(), 1))
            write(file, SLOW)
            os.kill(child.pid, signal.SIGHUP)
            async with asyncio.timeout(20):
                while True:
                    if before != digest_of(await client.execute(request(), 1)):
                        break
                    await asyncio.sleep(0.02)
            write(file, "enabled: 7\n")
            os.kill(child.pid, signal.SIGHUP)
            async with asyncio.timeout(20), httpx.AsyncClient() as http:
                while True:
                    text = (await http.get(f"http://127.0.0.1:{metrics_port}/metrics")).text
                    if 'config_reloads_total{outcome="refused"} 1.0' in text:
                        break
                    await asyncio.sleep(0.02)
            assert "FILLED" == (await client.execute(request(), 1)).status


def test_variables_of_the_environment_override_keys(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the simulator executes under is the file with `TOUCHSTONE_L3__*` on top."""
    path = root / "configs" / "execution_l3.yaml"
    monkeypatch.setenv("TOUCHSTONE_L3__LATENCY__PROFILE", "retail")
    assert "retail" == read(path, seed=1, version=1).config.latency.profile
    monkeypatch.setenv("TOUCHSTONE_L3__LATENCY__PROFILE", "teleport")
    with pytest.raises(ConfigError, match="TOUCHSTONE_L3__LATENCY__PROFILE"):
        read(path, seed=1, version=1)
