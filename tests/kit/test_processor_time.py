"""What another process has computed."""

import subprocess
import sys
import time

import pytest

from touchstone.kit.processor_time import computed_seconds, waits_for_processor


@pytest.mark.parametrize(
    ("program", "runs"),
    [("f()", True),
     ("import threading; t = threading.Thread(target=f); t.start(); t.join()", False)],
)  # fmt: skip
def test_the_processor_time_of_another_process_is_told_with_all_its_threads(
    program: str, runs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the system has no such clocks; of a process that is not there it is nothing."""
    spin = f"def f():\n while True: pass\n{program}"
    with subprocess.Popen([sys.executable, "-c", spin]) as process:
        try:
            deadline = time.monotonic() + 20
            while computed_seconds(process.pid) < 0.2:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            # Of the first thread alone.
            assert runs is waits_for_processor(process.pid)
            by_clock = computed_seconds(process.pid)
            with monkeypatch.context() as patch:
                patch.setattr(time, "clock_gettime_ns", no_such_clock)
                by_ticks = computed_seconds(process.pid)
        finally:
            process.kill()
    assert by_clock - 0.1 <= by_ticks <= by_clock + 5
    assert (0.0, False) == (computed_seconds(process.pid), waits_for_processor(process.pid))


def no_such_clock(_clock: int) -> int:
    """Refuse, as systems do that have no clocks of other processes."""
    raise OSError("no such clock")
