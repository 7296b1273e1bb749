"""Where each part of the stack listens: defaults, their environment names, free ones for a demo."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, fields

from lob.errors import ConfigError, Unavailable

LOOPBACK = "127.0.0.1"
HIGHEST_PORT = 65_535

# field of Ports -> environment name
PORT_NAMES = {
    "redis": "TOUCHSTONE_REDIS_PORT",
    "simulator": "TOUCHSTONE_SIMULATOR_PORT",
    "simulator_stream": "TOUCHSTONE_SIMULATOR_STREAM_PORT",
    "simulator_metrics": "TOUCHSTONE_SIMULATOR_METRICS_PORT",
    "router": "TOUCHSTONE_ROUTER_PORT",
    "order_gateway": "TOUCHSTONE_GATEWAY_PORT",
    "watchdog": "TOUCHSTONE_WATCHDOG_PORT",
    "paper_exchange": "TOUCHSTONE_EXCHANGE_PORT",
}


@dataclass(frozen=True, slots=True)
class Ports:
    """TCP ports of one stack on loopback."""

    redis: int = 6379
    simulator: int = 50051
    simulator_stream: int = 50052
    simulator_metrics: int = 9101
    router: int = 8000
    order_gateway: int = 8080
    paper_exchange: int = 8090
    watchdog: int = 8081

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Ports":
        """Return the default ports with the environment's overrides.

        Raises:
            ConfigError: a value is no port number, or two parts share one.
        """
        chosen = {}
        for field, name in PORT_NAMES.items():
            if name in environment:
                chosen[field] = _port_number(name, environment[name])
        ports = cls(**chosen)
        ports.refuse_shared()
        return ports

    @classmethod
    def free(cls) -> "Ports":
        """Return ports that are free now, each another."""
        sockets = [socket.socket() for _ in fields(cls)]
        try:
            for sock in sockets:
                sock.bind((LOOPBACK, 0))
            numbers = [sock.getsockname()[1] for sock in sockets]
        finally:
            for sock in sockets:
                sock.close()
        return cls(*numbers)

    def environment(self) -> dict[str, str]:
        """Return the environment that makes every service use these ports."""
        return {name: str(getattr(self, field)) for field, name in PORT_NAMES.items()}

    def refuse_shared(self) -> None:
        """Raise ConfigError where two parts of the stack have the same port."""
        seen: dict[int, str] = {}
        for field, name in PORT_NAMES.items():
            number = getattr(self, field)
            if number in seen:
                raise ConfigError(f"environment {name}: {number}: {seen[number]} has this port too")
            seen[number] = name

    def refuse_taken(self, *, but: frozenset[str] = frozenset()) -> None:
        """Raise Unavailable for the first port that something else listens on.

        Args:
            but: fields whose server is not ours to start.
        """
        for field, name in PORT_NAMES.items():
            if field in but:
                continue
            number = getattr(self, field)
            with socket.socket() as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    sock.bind((LOOPBACK, number))
                except OSError as error:
                    raise Unavailable(
                        f"port {number} for {field} cannot be used ({error.strerror}); "
                        f"free it or set {name}",
                    ) from None


def _port_number(name: str, text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= HIGHEST_PORT:
        raise ConfigError(f"environment {name}: {text!r}: allowed: 1 to {HIGHEST_PORT}")
    return int(text)
