"""What another process has computed, as the kernel counts it."""

import os
import time
from pathlib import Path


def computed_seconds(pid: int) -> float:
    """Return the processor time of a process and its threads; 0 where the system does not tell."""
    try:
        # Linux: the processor clock of any process, as of clock_getcpuclockid(3).
        return time.clock_gettime_ns(~pid << 3 | 2) / 1e9
    except (OSError, OverflowError):
        fields = _stat(pid)
    try:
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (ValueError, IndexError):
        return 0.0


def waits_for_processor(pid: int) -> bool:
    """Return whether its first thread runs or could run; False where the system does not tell."""
    return _stat(pid)[:1] == ["R"]


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on, of proc(5); none where it is not."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()
