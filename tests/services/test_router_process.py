"""The router as a process: start, SIGTERM, and one clear line for what is wrong."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.services.router_harness import copy_configs, edit, request_json


def environment(tmp_path: Path, **more: str) -> dict[str, str]:
    """Return an environment without Redis and simulator, on a free port."""
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith("TOUCHSTONE_")
    }
    return clean | {
        "TOUCHSTONE_REDIS_URL": "redis://127.0.0.1:1/0",
        "TOUCHSTONE_DATA_DIR": str(tmp_path / "data"),
        "TOUCHSTONE_ROUTER_SIMULATOR_ADDRESS": "127.0.0.1:1",
        "TOUCHSTONE_ROUTER_PORT": str(free_port()),
        **more,
    }


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(root: Path, env: dict[str, str], log: Path | None = None) -> subprocess.Popen[str]:
    """Start a router process; what it logs goes into a pipe, or into a file."""
    command = [sys.executable, "-m", "services.router"]
    if log is None:
        return subprocess.Popen(command, cwd=root, env=env, stderr=subprocess.PIPE, text=True)
    with log.open("w") as file:
        return subprocess.Popen(
            command, cwd=root, env=env, stdout=file, stderr=subprocess.STDOUT, text=True
        )


def test_it_answers_without_anything_and_stops_on_sigterm(root: Path, tmp_path: Path) -> None:
    """No Redis, no simulator: L2 answers, and SIGTERM is exit code 0."""
    env = environment(tmp_path)
    process = start(root, env)
    url = f"http://127.0.0.1:{env['TOUCHSTONE_ROUTER_PORT']}"
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                response = httpx.post(f"{url}/v1/executions", json=request_json(), timeout=5)
                break
            except httpx.TransportError:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
        assert response.json()["decision"]["rule"] == "unknown"
        assert httpx.get(f"{url}/readyz", timeout=5).json()["status"] == "degraded"
        process.terminate()
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.communicate()


def test_a_port_in_use_is_one_line_and_exit_code_1(root: Path, tmp_path: Path) -> None:
    """The line names the address."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        process = start(root, environment(tmp_path, TOUCHSTONE_ROUTER_PORT=port))
        _, stderr = process.communicate(timeout=20)
    assert process.returncode == 1
    assert stderr.splitlines()[-1].startswith(f"router: cannot listen on 127.0.0.1:{port}")
    assert "Traceback" not in stderr


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"TOUCHSTONE_ROUTER_SED": "1"}, "did you mean TOUCHSTONE_ROUTER_SEED"),
        ({"USE_L3_SIMULATOR": "perhaps"}, "USE_L3_SIMULATOR: 'perhaps'"),
        ({"TOUCHSTONE_REDIS_URL": "nonsense"}, "TOUCHSTONE_REDIS_URL"),
        ({"TOUCHSTONE_ROUTER_CONFIG_PATH": "absent.yaml"}, "absent.yaml: No such file"),
        ({"TOUCHSTONE_ROUTER_HOST": "0.0.0.0"}, "TOUCHSTONE_ROUTER_API_TOKEN: not set"),
        ({"TOUCHSTONE_ROUTER_API_TOKEN": "short"}, "TOUCHSTONE_ROUTER_API_TOKEN"),
    ],
)
def test_a_wrong_setting_is_one_line_and_exit_code_2(
    root: Path, tmp_path: Path, more: dict[str, str], named: str
) -> None:
    """The line names the variable, the value and what is allowed."""
    process = start(root, environment(tmp_path, **more))
    _, stderr = process.communicate(timeout=20)
    assert (process.returncode, len(stderr.splitlines())) == (2, 1)
    assert named in stderr


def test_a_wrong_key_in_a_file_is_one_line_and_exit_code_2(root: Path, tmp_path: Path) -> None:
    """The line names file and key."""
    folder = copy_configs(root, tmp_path)
    edit(folder / "l3_rollout.yaml", "percentage", "percent")
    path = str(folder / "l3_rollout.yaml")
    process = start(root, environment(tmp_path, TOUCHSTONE_ROUTER_ROLLOUT_PATH=path))
    _, stderr = process.communicate(timeout=20)
    assert (process.returncode, len(stderr.splitlines())) == (2, 1)
    assert f"{path}: rollout.percent: no such key; allowed: enabled, phase, percentage" in stderr


def wait_for(
    process: subprocess.Popen[str], condition: Callable[[], bool], seconds: float = 20
) -> None:
    """Return when a condition of a running process holds."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(httpx.TransportError):
            if condition():
                return
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_sighup_reads_the_files_again_and_a_bad_one_changes_nothing(
    root: Path, tmp_path: Path, redis_url: str
) -> None:
    """Off, then damaged, then on again: each as the file says, the damaged one is one log line."""
    folder = copy_configs(root, tmp_path)
    file = folder / "l3_rollout.yaml"
    good = file.read_text()
    env = environment(
        tmp_path, TOUCHSTONE_ROUTER_ROLLOUT_PATH=str(file), TOUCHSTONE_REDIS_URL=redis_url
    )
    process = start(root, env)
    url = f"http://127.0.0.1:{env['TOUCHSTONE_ROUTER_PORT']}/v1/rollout"

    def off_because() -> list[str]:
        return list(httpx.get(url, timeout=5).json()["flags"]["off_because"])

    try:
        wait_for(process, lambda: off_because() == [])
        edit(file, "enabled: true", "enabled: false")
        edit(file, "percentage: 0.05", "percentage: 0.5")
        process.send_signal(signal.SIGHUP)
        wait_for(process, lambda: off_because() == ["rollout.enabled: false"])
        assert 500 == httpx.get(url, timeout=5).json()["basis_points"]
        file.write_text("rollout: [")
        process.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        assert ["rollout.enabled: false"] == off_because()
        file.write_text(good)
        process.send_signal(signal.SIGHUP)
        wait_for(process, lambda: off_because() == [])
        metrics = httpx.get(url.replace("/v1/rollout", "/metrics"), timeout=5).text
        assert 'config_reloads_total{outcome="applied"} 2.0' in metrics
        assert 'config_reloads_total{outcome="refused"} 1.0' in metrics
        process.terminate()
        _, stderr = process.communicate(timeout=10)
        assert 0 == process.returncode
    finally:
        process.kill()
        process.communicate()
    kept = [line for line in stderr.splitlines() if "flags_not_reloaded" in line]
    assert 1 == len(kept)
    assert f"{file}: line " in kept[0]
    assert "Traceback" not in stderr


def test_a_rollback_is_kept_in_the_file_the_router_was_told_to_start_from(
    root: Path, tmp_path: Path, redis_url: str
) -> None:
    """One word changes, comments stay, also without Redis's state; a re-arm takes it back."""
    folder = copy_configs(root, tmp_path)
    file = folder / "l3_rollout.yaml"
    before = file.read_text()
    env = environment(
        tmp_path, TOUCHSTONE_ROUTER_ROLLOUT_PATH=str(file), TOUCHSTONE_REDIS_URL=redis_url
    )
    process = start(root, env)
    url = f"http://127.0.0.1:{env['TOUCHSTONE_ROUTER_PORT']}/v1/rollout"
    try:
        wait_for(process, lambda: httpx.get(url, timeout=5).json()["generation"] == 1)
        httpx.post(f"{url}/rollback", json={"reason": "bad fills"}, timeout=5)
        after = before.replace("phase: shadow ", "phase: rolled_back ")
        assert after != before
        wait_for(process, lambda: file.read_text() == after)
        body = {"reason": "fixed", "expected_generation": 2}
        assert 200 == httpx.post(f"{url}/rearm", json=body, timeout=5).status_code
        wait_for(process, lambda: file.read_text() == before)
        assert ["config_backtest.yaml", "l3_rollout.yaml"] == sorted(
            entry.name for entry in folder.iterdir()
        )
    finally:
        process.kill()
        process.communicate()
