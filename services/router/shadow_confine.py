"""Shut a process in before a candidate runs in it: little memory, no children, the least CPU.

What a candidate may do wrong is its own business as long as it ends with its process. So the
process takes these on itself, and the kernel keeps them (Linux; `confine` names what it could not
have):

- `death_signal`: SIGKILL when the thread that started it is gone, whatever it is busy with;
- `priority`: nice 19 and SCHED_IDLE, so that it gets what nobody else wants of the processors;
- `limits`: bounds on memory and open files, no file may grow, no core dump;
- `out_of_memory`: the first to be ended when the machine runs out;
- `calls`: a seccomp filter (Linux `Documentation/userspace-api/seccomp_filter.rst`). It refuses
  new processes and programs, signals to others, tracing, priorities and limits of its own, and
  whatever makes, changes or removes a file; and, for a candidate that is not asked over the wire,
  every socket: it cannot reach a venue.

The filter refuses with an error number and does not kill: what a candidate tries is its failure in
that one pair. Files that this user may read can be read.
"""

import contextlib
import ctypes
import errno
import os
import platform
import resource
import signal
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

OPEN_FILES_MAX: Final = 256
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_SECCOMP: Final = 22
_PR_SET_NO_NEW_PRIVS: Final = 38
_SECCOMP_MODE_FILTER: Final = 2
_CLONE_THREAD: Final = 0x00010000
_LOWEST_PRIORITY: Final = 19
_WRITES: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

# Classic BPF (linux/filter.h): load a word, compare, test bits, return.
_LOAD, _EQUAL, _ANY_BIT, _AT_LEAST, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
_ALLOW: Final = 0x7FFF0000
_REFUSE: Final = 0x00050000
# Offsets in struct seccomp_data, of the low halves of the arguments.
_NUMBER, _ARCHITECTURE = 0, 4


def _argument(index: int) -> int:
    return 16 + 8 * index


@dataclass(frozen=True, slots=True)
class _Machine:
    """What the kernel calls this machine and its calls."""

    audit: int
    calls: dict[str, int]


# Numbers of asm/unistd_64.h and asm-generic/unistd.h.
_X86_64: Final = _Machine(
    0xC000003E,
    {
        "fork": 57, "vfork": 58, "execve": 59, "execveat": 322, "clone": 56, "clone3": 435,
        "kill": 62, "tkill": 200, "tgkill": 234, "rt_sigqueueinfo": 129,
        "rt_tgsigqueueinfo": 297, "pidfd_send_signal": 424, "pidfd_open": 434, "pidfd_getfd": 438,
        "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311,
        "setpriority": 141, "sched_setparam": 142, "sched_setscheduler": 144,
        "sched_setattr": 314, "sched_setaffinity": 203, "ioprio_set": 251, "setsid": 112,
        "setpgid": 109, "setrlimit": 160, "prlimit64": 302, "prctl": 157, "socket": 41,
        "io_uring_setup": 425, "bpf": 321, "unshare": 272, "setns": 308, "mount": 165,
        "reboot": 169, "process_madvise": 440,
        "open": 2, "openat": 257, "openat2": 437, "creat": 85, "unlink": 87, "unlinkat": 263,
        "rename": 82, "renameat": 264, "renameat2": 316, "mkdir": 83, "mkdirat": 258, "rmdir": 84,
        "link": 86, "linkat": 265, "symlink": 88, "symlinkat": 266, "truncate": 76,
        "ftruncate": 77, "chmod": 90, "fchmod": 91, "fchmodat": 268, "fchmodat2": 452,
        "chown": 92, "fchown": 93, "lchown": 94, "fchownat": 260, "mknod": 133, "mknodat": 259,
    },
)  # fmt: skip
_AARCH64: Final = _Machine(
    0xC00000B7,
    {
        "execve": 221, "execveat": 281, "clone": 220, "clone3": 435,
        "kill": 129, "tkill": 130, "tgkill": 131, "rt_sigqueueinfo": 138,
        "rt_tgsigqueueinfo": 240, "pidfd_send_signal": 424, "pidfd_open": 434, "pidfd_getfd": 438,
        "ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271,
        "setpriority": 140, "sched_setparam": 118, "sched_setscheduler": 119,
        "sched_setattr": 274, "sched_setaffinity": 122, "ioprio_set": 30, "setsid": 157,
        "setpgid": 154, "setrlimit": 164, "prlimit64": 261, "prctl": 167, "socket": 198,
        "io_uring_setup": 425, "bpf": 280, "unshare": 97, "setns": 268, "mount": 40,
        "reboot": 142, "process_madvise": 440,
        "openat": 56, "openat2": 437, "unlinkat": 35, "renameat": 38, "renameat2": 276,
        "mkdirat": 34, "linkat": 37, "symlinkat": 36, "truncate": 45, "ftruncate": 46,
        "fchmod": 52, "fchmodat": 53, "fchmodat2": 452, "fchown": 55, "fchownat": 54,
        "mknodat": 33,
    },
)  # fmt: skip
_MACHINES: Final = {"x86_64": _X86_64, "aarch64": _AARCH64}
_REFUSED_ALWAYS: Final = (
    "fork", "vfork", "execve", "execveat", "tkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo",
    "pidfd_send_signal", "pidfd_open", "pidfd_getfd", "ptrace", "process_vm_readv",
    "process_vm_writev", "setpriority", "sched_setparam", "sched_setscheduler", "sched_setattr",
    "sched_setaffinity", "ioprio_set", "setsid", "setpgid", "setrlimit", "io_uring_setup", "bpf",
    "unshare", "setns", "mount", "reboot", "process_madvise", "creat", "unlink", "unlinkat",
    "rename", "renameat", "renameat2", "mkdir", "mkdirat", "rmdir", "link", "linkat", "symlink",
    "symlinkat", "truncate", "ftruncate", "chmod", "fchmod", "fchmodat", "fchmodat2", "chown",
    "fchown", "lchown", "fchownat", "mknod", "mknodat",
)  # fmt: skip


def confine(parent: int, memory_bytes_max: int, *, network: bool) -> tuple[str, ...]:
    """Shut this process in, and return the names of the bounds that this system does not give.

    Call it before any thread is started. Without its parent there is nothing to do: it exits.

    Args:
        parent: process id of whoever started this one.
        memory_bytes_max: bound on the address space.
        network: whether sockets may be made: only for what is asked over the wire.
    """
    steps: dict[str, Callable[[], object]] = {
        "death_signal": lambda: _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL),
        "priority": _take_least_priority,
        "out_of_memory": _volunteer_first,
        "limits": lambda: _limit(memory_bytes_max),
        "calls": lambda: _filter_calls(network=network),
    }
    missing = []
    for name, step in steps.items():
        try:
            step()
        except (OSError, ValueError, AttributeError, KeyError):
            missing.append(name)
    if os.getppid() != parent:
        sys.exit(0)
    return tuple(missing)


def filter_program(machine: str, pid: int, *, network: bool) -> bytes:
    """Return the filter as BPF instructions of 8 bytes each.

    Raises:
        KeyError: the calls of this machine are not known here.
    """
    known = _MACHINES[machine]
    refuse = _code(_RETURN, _REFUSE | errno.EPERM)
    allow = _code(_RETURN, _ALLOW)
    program = [
        _code(_LOAD, _ARCHITECTURE),
        _code(_EQUAL, known.audit, 1, 0),
        refuse,
        _code(_LOAD, _NUMBER),
        # The x32 calls of x86_64 have numbers of their own from here on.
        _code(_AT_LEAST, 0x40000000, 0, 1),
        refuse,
    ]
    # The C library then takes clone and openat, whose flags can be looked at.
    for name in ("clone3", "openat2"):
        program += [_code(_EQUAL, known.calls[name], 0, 1), _code(_RETURN, _REFUSE | errno.ENOSYS)]
    for name in (*_REFUSED_ALWAYS, *(() if network else ("socket",))):
        if name in known.calls:
            program += [_code(_EQUAL, known.calls[name], 0, 1), refuse]

    def look(name: str, index: int, operation: int, value: int, *, refuse_if: bool) -> None:
        """Refuse a call by its argument `index`, compared with `value`."""
        first, second = (refuse, allow) if refuse_if else (allow, refuse)
        program.extend(
            [
                _code(_EQUAL, known.calls[name], 0, 4),
                _code(_LOAD, _argument(index)),
                _code(operation, value, 0, 1),
                first,
                second,
            ]
        )

    if "open" in known.calls:
        look("open", 1, _ANY_BIT, _WRITES, refuse_if=True)
    look("openat", 2, _ANY_BIT, _WRITES, refuse_if=True)
    look("clone", 0, _ANY_BIT, _CLONE_THREAD, refuse_if=False)
    look("kill", 0, _EQUAL, pid, refuse_if=False)
    look("tgkill", 0, _EQUAL, pid, refuse_if=False)
    look("prctl", 0, _EQUAL, _PR_SET_PDEATHSIG, refuse_if=True)
    # Limits may be read: then there is no new value.
    look("prlimit64", 2, _EQUAL, 0, refuse_if=False)
    return b"".join([*program, allow])


def _code(operation: int, value: int, then: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("=HBBI", operation, then, otherwise, value)


def _filter_calls(*, network: bool) -> None:
    program = filter_program(platform.machine(), os.getpid(), network=network)
    held = ctypes.create_string_buffer(program)

    class Filter(ctypes.Structure):
        _fields_ = (("count", ctypes.c_ushort), ("code", ctypes.c_void_p))

    described = Filter(len(program) // 8, ctypes.addressof(held))
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(described))


def _prctl(option: int, *arguments: object) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    filled = (*arguments, *([0] * (4 - len(arguments))))
    words = [ctypes.c_ulong(a) if isinstance(a, int) else a for a in filled]
    if library.prctl(option, *words) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def _take_least_priority() -> None:
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, _LOWEST_PRIORITY)
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _limit(memory_bytes_max: int) -> None:
    """Set every limit that the system takes; raise for the others afterwards."""
    refused: list[str] = []
    for name, most in (
        ("RLIMIT_AS", memory_bytes_max),
        ("RLIMIT_NOFILE", OPEN_FILES_MAX),
        ("RLIMIT_FSIZE", 0),
        ("RLIMIT_CORE", 0),
    ):
        try:
            what = getattr(resource, name)
            hard = resource.getrlimit(what)[1]
            bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(what, (bound, bound))
        except (OSError, ValueError, AttributeError):
            refused.append(name)
    if refused:
        raise OSError(errno.ENOTSUP, ", ".join(refused))


def _volunteer_first() -> None:
    with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:  # noqa: PTH123 - no path
        file.write("1000")
