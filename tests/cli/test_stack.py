"""The supervisor's own state: its lock, its folder, its news, its way past proxies."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

import lob
from lob.errors import ConfigError
from touchstone.cli import status as status_module
from touchstone.cli.console import EXIT_FAILED, EXIT_OK
from touchstone.cli.ports import Ports
from touchstone.cli.stack import (
    Health,
    Stack,
    past_proxies,
    probing_client,
    run_file,
    supervisor_pid,
)
from touchstone.cli.status import book_backend, redis_url_of
from touchstone.cli.up import run_until_signalled
from touchstone.cli.watching import is_news


def stack_below(folder: Path) -> Stack:
    """Return a stack that reports to nobody."""
    return Stack(Ports.free(), folder, report=lambda _name, _what: None)


def test_the_supervisor_is_found_from_its_first_moment_on(tmp_path: Path) -> None:
    """`down` must find a stack that is still starting, and none once it has let go."""
    stack = stack_below(tmp_path)
    stack._take_lock()
    assert os.getpid() == supervisor_pid(tmp_path)
    asyncio.run(stack.stop())
    assert supervisor_pid(tmp_path) is None


def test_what_a_killed_supervisor_left_behind_names_nobody(tmp_path: Path) -> None:
    """Its pid may be another process's by now, which `down` must not end."""
    run_file(tmp_path).write_text(f'{{"supervisor_pid": {os.getpid()}}}')
    (tmp_path / "stack.lock").write_text(str(os.getpid()))
    assert supervisor_pid(tmp_path) is None


def test_a_folder_that_cannot_be_written_is_a_config_error(tmp_path: Path) -> None:
    """One line names the option, the folder and the reason."""
    (tmp_path / "file").touch()

    async def start() -> None:
        async with stack_below(tmp_path / "file"):
            pytest.fail("it started")

    with pytest.raises(ConfigError, match=r"--data-dir.*file'.*allowed: a folder"):
        asyncio.run(start())


def test_an_age_that_counts_on_is_no_news() -> None:
    """A dead Redis is told once, not every two seconds."""
    young = Health(ok=False, detail="not ready (kill_switch: 1.0 s old)", state="not ready kill")
    old = Health(ok=False, detail="not ready (kill_switch: 3.0 s old)", state="not ready kill")
    assert not is_news(young, old)
    assert is_news(old, Health(ok=True, detail="ready", state="ready"))
    assert is_news(Health(ok=True, detail="ready"), Health(ok=False, detail="no answer"))


def test_proxies_of_the_environment_are_not_asked_for_loopback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Behind a company's proxy our own parts still reach one another."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert not probing_client().trust_env
    expected = "corp.example,127.0.0.1,localhost"
    assert {"no_proxy": expected, "NO_PROXY": expected} == past_proxies(
        {"NO_PROXY": "corp.example"}
    )


def test_status_asks_the_redis_that_the_stack_uses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A named server, not the embedded one that was never started."""
    monkeypatch.delenv("TOUCHSTONE_REDIS_URL", raising=False)
    monkeypatch.setenv("TOUCHSTONE_REDIS_PORT", "7001")
    assert "redis://127.0.0.1:7001/0" == redis_url_of(tmp_path)
    monkeypatch.setenv("TOUCHSTONE_REDIS_URL", "redis://127.0.0.1:7002/0")
    assert "redis://127.0.0.1:7002/0" == redis_url_of(tmp_path)
    run_file(tmp_path).write_text('{"redis_url": "redis://127.0.0.1:7003/0"}')
    assert "redis://127.0.0.1:7003/0" == redis_url_of(tmp_path)


@pytest.mark.parametrize("code", [EXIT_OK, EXIT_FAILED])
def test_an_interrupted_run_ends_with_the_code_its_command_chose(code: int) -> None:
    """A stopped `up` is a success; a stopped `demo` has shown nothing."""

    async def wait() -> int:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(30)
        return 9

    assert code == run_until_signalled(wait(), signalled=code)


def test_status_says_which_order_book_is_here_and_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the extension the plain book serves, and the bootstrap script's note says why."""
    (tmp_path / "touchstone-native").write_text("digest\nno C++ compiler on PATH\n")
    monkeypatch.setattr(status_module, "why_not_native", lambda: "No module named 'lob._core'")
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    assert {
        "backend": lob.backend(),
        "detail": "No module named 'lob._core'; no C++ compiler on PATH",
    } == book_backend()
    monkeypatch.setattr(status_module, "why_not_native", lambda: "")
    assert "" == book_backend()["detail"]
