"""`touchstone up`: starts everything on loopback, reports deaths, keeps promises, stops cleanly."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from touchstone.cli.demo_flow import synthetic_requests
from touchstone.cli.ports import Ports

pytestmark = pytest.mark.timeout(180)
START_SECONDS = 60.0
# 127.0.0.1 as the kernel prints it, and the same address in an IPv6 socket, as gRPC binds it.
LOOPBACK_HEX = {"0100007F", "0000000000000000FFFF00000100007F"}
LISTENING = "0A"


def environment_of(root: Path, ports: Ports, **more: str) -> dict[str, str]:
    """Return an environment with free ports and nothing else of ours."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("TOUCHSTONE_")}
    return clean | ports.environment() | {"TOUCHSTONE_HOME": str(root)} | more


@dataclass
class Up:
    """A running `touchstone up`."""

    process: subprocess.Popen[str]
    parts: dict[str, dict[str, Any]]
    ports: Ports
    errors: Path

    def url(self, part: str) -> str:
        """Return a part's address."""
        return str(self.parts[part]["address"])

    def says(self, text: str) -> bool:
        """Return whether this has been said on stderr."""
        return text in self.errors.read_text()

    def kill(self, part: str) -> None:
        """End one part as the kernel does when memory is out."""
        os.kill(int(self.parts[part]["pid"]), signal.SIGKILL)


@contextlib.contextmanager
def running_up(root: Path, tmp_path: Path, *options: str) -> Iterator[Up]:
    """Run a stack on free ports, stopped at the end whatever was done to it."""
    ports = Ports.free()
    errors = tmp_path / "stderr.txt"
    command = [sys.executable, "-m", "touchstone.cli", "up", "--json", "--stop-after", "150"]
    with errors.open("w") as stderr:
        process = subprocess.Popen(
            [*command, *options, "--data-dir", str(tmp_path / "data")],
            env=environment_of(root, ports),
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, errors.read_text()
        yield Up(process, json.loads(line)["parts"], ports, errors)
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def up(root: Path, tmp_path: Path) -> Iterator[Up]:
    """A stack with traffic, in which what dies stays away."""
    with running_up(root, tmp_path, "--traffic", "5", "--no-restart") as up:
        yield up


def eventually(holds: Callable[[], bool], seconds: float = 15.0) -> None:
    """Wait until something holds, at most so long."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come to hold in time"
        time.sleep(0.05)


def order(quantity: str = "0.01") -> dict[str, object]:
    """Return a market order that opens a position."""
    return {"symbol": "BTC-PERP", "side": "BUY", "quantity": quantity, "type": "MARKET"}


def test_a_dead_redis_closes_the_gateway_and_the_router_answers_with_l2(up: Up) -> None:
    """Without control state there is no new risk, and executions still get their answer."""
    assert httpx.post(f"{up.url('order_gateway')}/v1/orders", json=order()).status_code == 201
    up.kill("redis")
    eventually(lambda: up.says("redis was ended by SIGKILL"))

    def refused() -> bool:
        answer = httpx.post(f"{up.url('order_gateway')}/v1/orders", json=order())
        return answer.status_code == 503

    eventually(refused, seconds=5)
    answer = httpx.post(f"{up.url('order_gateway')}/v1/orders", json=order())
    assert "CONTROL_STATE_UNKNOWN" == answer.json()["error"]["code"]
    request = next(synthetic_requests(1, 3))
    executed = httpx.post(f"{up.url('router')}/v1/executions", json=request)
    assert (200, "L2") == (executed.status_code, executed.json()["decision"]["arm"])


def test_a_dead_simulator_is_reported_and_l2_still_answers(up: Up) -> None:
    """The L2 provider runs in the router's own process, also for what was on L3."""
    router = up.url("router")
    rollout = httpx.get(f"{router}/v1/rollout")
    promoted = httpx.put(
        f"{router}/v1/rollout",
        json={"phase": "CANARY", "canary_symbols": ["AAPL"], "reason": "test"},
        headers={"If-Match": rollout.headers["ETag"]},
    )
    assert promoted.status_code == 200, promoted.text
    request = next(synthetic_requests(1, 3))

    def arm() -> str:
        return str(httpx.post(f"{router}/v1/executions", json=request).json()["decision"]["arm"])

    eventually(lambda: arm() == "L3")
    up.kill("simulator")
    eventually(lambda: up.says("simulator was ended by SIGKILL"))
    answer = httpx.post(f"{router}/v1/executions", json=request)
    assert 200 == answer.status_code
    assert "L2" == answer.json()["decision"]["arm"]
    assert answer.json()["decision"]["rule"].startswith("fallback")


def test_a_dead_venue_refuses_orders_and_a_dead_gateway_leaves_the_router_alone(up: Up) -> None:
    """Each part's death is reported, and what does not depend on it goes on."""
    up.kill("paper_exchange")
    eventually(lambda: up.says("paper_exchange was ended by SIGKILL"))
    gateway = up.url("order_gateway")
    eventually(lambda: httpx.post(f"{gateway}/v1/orders", json=order()).status_code == 503)
    up.kill("order_gateway")
    eventually(lambda: up.says("order_gateway was ended by SIGKILL and stays away until"))
    request = next(synthetic_requests(1, 3))
    assert httpx.post(f"{up.url('router')}/v1/executions", json=request).status_code == 200


def test_what_dies_is_started_again_and_goes_on_where_it_was(root: Path, tmp_path: Path) -> None:
    """Gateway, venue, Redis, simulator, router and watchdog, one after the other; by hand nothing.

    The position is still there, a halt still halts, and `status` finds the new processes.
    """
    with running_up(root, tmp_path) as up:
        gateway = up.url("order_gateway")
        placed = httpx.post(f"{gateway}/v1/orders", json=order())
        assert 201 == placed.status_code, placed.text

        def held() -> str:
            with contextlib.suppress(httpx.HTTPError):
                for position in httpx.get(f"{gateway}/v1/positions").json()["positions"]:
                    return str(position["quantity"])
            return ""

        eventually(lambda: held() == "0.01")
        halt = {"state": "HALTED", "reason": "to be remembered"}
        assert 200 == httpx.post(f"{gateway}/v1/kill-switch", json=halt).status_code
        for part in up.parts:
            up.kill(part)
            eventually(partial(up.says, f"{part} was started again"), 10.0)
            eventually(partial(up.says, f"{part} is now ready"), 30.0)
            assert up.says(f"{part} was ended by SIGKILL and is started again in 0.5 s")
        eventually(lambda: held() == "0.01")
        refused = httpx.post(f"{gateway}/v1/orders", json=order())
        assert refused.status_code in {409, 503}
        assert "HALTED" in refused.text
        running = json.loads((tmp_path / "data" / "stack.json").read_text())["parts"]
        assert not {p["pid"] for p in running.values()} & {p["pid"] for p in up.parts.values()}
        for part in running.values():
            os.kill(part["pid"], 0)
        up.process.send_signal(signal.SIGINT)
        assert 0 == up.process.wait(30)
        up.ports.refuse_taken()


def test_traffic_shows_how_l3_differs(up: Up) -> None:
    """Some of its orders cost more or less at L3, because of what happens while they travel."""

    def differs() -> bool:
        overall = httpx.get(f"{up.url('router')}/v1/shadow/summary").json()["overall"]
        return bool(overall["rmse_bps"])

    eventually(differs, 120.0)
    assert up.says("L3 has a retail connection's latency")


def test_ctrl_c_stops_everything_and_frees_every_port(up: Up) -> None:
    """Made-up orders go through it, none of it beyond loopback; afterwards nothing runs at all."""
    eventually(lambda: httpx.get(f"{up.url('router')}/v1/shadow/summary").json()["mirrored"] > 0)
    listening = {address for port in ports_listening() for address in port.items()}
    ours = {port for port, _ in listening} & set(up.ports.environment().values())
    assert set(up.ports.environment().values()) == ours
    assert {host for port, host in listening if port in ours} <= LOOPBACK_HEX

    up.process.send_signal(signal.SIGINT)
    assert 0 == up.process.wait(30)
    up.ports.refuse_taken()
    for part in up.parts.values():
        with pytest.raises(ProcessLookupError):
            os.kill(int(part["pid"]), 0)


def ports_listening() -> list[dict[str, str]]:
    """Return `{port: address}` of each listening TCP socket, from the kernel's own table."""
    found = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for row in Path(table).read_text().splitlines()[1:]:
            fields = row.split()
            if fields[3] == LISTENING:
                host, port = fields[1].split(":")
                found.append({str(int(port, 16)): host})
    return found


def run_up(root: Path, tmp_path: Path, ports: Ports, **more: str) -> tuple[int, list[str]]:
    """Run an `up` that cannot start; return its exit code and what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "touchstone.cli", "up", "--data-dir", str(tmp_path / "data")],
        env=environment_of(root, ports, **more),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr.strip().splitlines()


def test_a_port_in_use_is_one_line(root: Path, tmp_path: Path) -> None:
    """The line says which port, for which part, and which variable moves it."""
    ports = Ports.free()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", ports.router))
        taken.listen()
        code, said = run_up(root, tmp_path, ports)
    assert 1 == code
    assert f"port {ports.router} for router cannot be used" in said[-1]
    assert "TOUCHSTONE_ROUTER_PORT" in said[-1]
    assert not any("Traceback" in line for line in said)


def test_a_misspelt_setting_is_one_line(root: Path, tmp_path: Path) -> None:
    """A wrong name is found before anything starts, with the nearest right one."""
    code, said = run_up(root, tmp_path, Ports.free(), TOUCHSTONE_ROUTER_SEEED="1")
    assert 2 == code
    assert "TOUCHSTONE_ROUTER_SEEED" in said[-1]
    assert "did you mean TOUCHSTONE_ROUTER_SEED" in said[-1]
    assert not any("Traceback" in line for line in said)


def test_a_bad_config_key_is_one_line(root: Path, tmp_path: Path) -> None:
    """A wrong key of a YAML file is named with its file."""
    wrong = tmp_path / "execution_l3.yaml"
    wrong.write_text("enabled: true\nlatencyy:\n  enabled: true\n")
    more = {"TOUCHSTONE_SIMULATOR_L3_CONFIG_PATH": str(wrong)}
    code, said = run_up(root, tmp_path, Ports.free(), **more)
    assert 2 == code
    assert "latencyy" in said[-1]
    assert str(wrong) in said[-1]
    assert not any("Traceback" in line for line in said)


def test_a_dead_redis_is_one_line(root: Path, tmp_path: Path) -> None:
    """A named server that does not answer is found before anything starts."""
    ports = Ports.free()
    url = f"redis://127.0.0.1:{ports.redis}/0"
    code, said = run_up(root, tmp_path, ports, TOUCHSTONE_REDIS_URL=url)
    assert 1 == code
    assert f"no Redis answers at {url}" in said[-1]
    assert not any("Traceback" in line for line in said)


def test_two_stacks_do_not_share_a_folder(up: Up, root: Path, tmp_path: Path) -> None:
    """A second `up` on the same state is refused, and the first goes on."""
    code, said = run_up(root, tmp_path, Ports.free())
    assert 1 == code
    assert "a stack already runs" in said[-1]
    with contextlib.closing(httpx.Client()) as client:
        assert client.get(f"{up.url('router')}/healthz").status_code == 200
