"""Start, serve and stop a service: one clear line for what goes wrong, an exit code to match."""

import asyncio
import contextlib
import ctypes
import gc
import logging
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from types import FrameType
from typing import Any

import uvicorn
import uvloop

from lob.errors import ConfigError, Fault, Unavailable

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
YOUNG_OBJECTS = 14_000


def run_service(name: str, main: Callable[[], Awaitable[None]]) -> int:
    """Run `main` to its end and return the exit code.

    A fault becomes one line on stderr: 2 for a wrong configuration, 1 for anything else. An
    exception that is no fault is a defect: it goes to the log, with its traceback, and is 1.
    """
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_await(main))
    except KeyboardInterrupt:
        return EXIT_OK
    except Exception as error:
        fault = _fault_in(error)
        if fault is None:
            logging.getLogger(f"touchstone.{name}").critical("defect", exc_info=error)
            return EXIT_FAILED
        sys.stderr.write(f"{name}: {fault}\n")
        return EXIT_USAGE if isinstance(fault, ConfigError) else EXIT_FAILED
    return EXIT_OK


def _fault_in(error: Exception) -> Fault | None:
    """Return the fault that this is, alone or as the only kind in a group of tasks."""
    if isinstance(error, Fault):
        return error
    if not isinstance(error, ExceptionGroup):
        return None
    found = [_fault_in(one) for one in error.exceptions]
    return None if None in found else found[0]


async def _await(main: Callable[[], Awaitable[None]]) -> None:
    await main()


def die_with_parent(number: signal.Signals = signal.SIGTERM) -> None:
    """Have the kernel end this process with a signal when its parent is gone (Linux only).

    For `preexec_fn`: what a supervisor or a test starts does not outlive its `kill -9`. A process
    that may be stopped takes SIGKILL, because SIGTERM would wait until it goes on.
    """
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, number)


def bind(host: str, port: int) -> socket.socket:
    """Return a listening-ready TCP socket on `host:port`.

    Raises:
        Unavailable: the port is in use or the address is not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio switches Nagle off: without, an answer can wait 40 ms.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise Unavailable(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
    return sock


async def serve_web(
    app: Any,
    host: str,
    port: int,
    *,
    on_started: Callable[[int], None] | None = None,
    on_stopping: Callable[[], None] | None = None,
    stop: asyncio.Event | None = None,
    **uvicorn_options: Any,
) -> None:
    """Serve an ASGI app until SIGTERM, SIGINT or `stop`, then finish open requests (at most 5 s).

    The port is bound before anything else, so that a port in use is one clear line.

    Args:
        app: ASGI application.
        host: address to bind; loopback unless configured otherwise.
        port: TCP port; 0 takes a free one.
        on_started: called with the bound port when the server accepts connections.
        on_stopping: called when a signal has asked for the end, before anything else.
        stop: set to end without a signal.
        uvicorn_options: passed on, e.g. certificate files.
    """
    with bind(host, port) as sock:
        options: dict[str, Any] = {
            "loop": "none",
            "http": "httptools",
            "log_config": None,
            "access_log": False,
            "timeout_graceful_shutdown": 5,
            "server_header": False,
        }
        config = uvicorn.Config(app, host, **(options | uvicorn_options))
        server = _Server(config, sock.getsockname()[1], on_started, on_stopping)
        async with _stopped_by(stop, server):
            await server.serve(sockets=[sock])
        if not server.started:
            raise Unavailable("start-up failed; see the log above")


@contextlib.asynccontextmanager
async def _stopped_by(stop: asyncio.Event | None, server: uvicorn.Server) -> AsyncIterator[None]:
    """End the server once `stop` is set."""
    if stop is None:
        yield
        return

    async def wait() -> None:
        await stop.wait()
        server.should_exit = True

    waiting = asyncio.create_task(wait())
    try:
        yield
    finally:
        waiting.cancel()


class _Server(uvicorn.Server):
    """A uvicorn server that tells its port and freezes the heap once it accepts."""

    def __init__(
        self,
        config: uvicorn.Config,
        port: int,
        on_started: Callable[[int], None] | None,
        on_stopping: Callable[[], None] | None,
    ) -> None:
        super().__init__(config)
        self._port = port
        self._on_started = on_started
        self._on_stopping = on_stopping

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop, and have whoever wants to know hear of it first."""
        if self._on_stopping is not None:
            self._on_stopping()
        super().handle_exit(sig, frame)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on SIGTERM and SIGINT and then return, where uvicorn would raise the signal again.

        A drained service exits with 0, and what surrounds the server still has to be closed.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.started:
            return
        # Start-up objects live as long as the process: keeping the collector off them cuts p99.
        gc.collect()
        gc.freeze()
        # What a request leaves is gone before the collector comes: it looks at a twentieth of it.
        gc.set_threshold(YOUNG_OBJECTS, *gc.get_threshold()[1:])
        logging.getLogger("touchstone.lifecycle").info(
            "listening on %s:%d", self.config.host, self._port
        )
        if self._on_started is not None:
            self._on_started(self._port)
