"""A paper exchange as it is started always, with keys for the load and limits out of the way."""

import contextlib
import http.client
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from bench.router_stack import (
    call_json,
    checkout_environment,
    free_ports,
    run_load,
    running_service,
    wait_until,
)
from lob.errors import Unavailable
from touchstone.kit.processor_time import computed_seconds

KEYS_A_KIND: Final = 2
ALGORITHMS: Final = ("ES256", "EdDSA")
SETTINGS: Final = {
    "RATE_LIMIT_PER_SECOND": 1_000_000,
    "CONNECTIONS_PER_SECOND": 1_000,
    "UNAUTHENTICATED_MESSAGES_PER_SECOND": 1_000,
    "STARTING_BALANCE": 100_000_000,
    "TICK_SECONDS": 0.01,
    "FEED_BEHIND_SECONDS": 1,
}
"""Limits that would end the measurement, or outlast it; a tick that spreads the flow evenly."""

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Served:
    """An exchange that serves; `keys` are those of the load, by algorithm."""

    port: int
    process: "subprocess.Popen[bytes]"
    keys: dict[str, list[Document]]

    def cpu_seconds(self) -> float:
        """Return what the exchange has computed since its start; 0 without it."""
        return computed_seconds(self.process.pid)

    def pause_flow(self, paused: bool) -> None:
        """Have the background flow stop, or go on."""
        status, answer = call_json(self.port, "POST", "/admin/flow", {"paused": paused})
        if status != http.client.OK:
            raise Unavailable(f"/admin/flow: {status}: {answer}")


@contextlib.contextmanager
def running_exchange(home: Path, folder: Path, **settings: object) -> Iterator[Served]:
    """Serve an exchange for a `with` block, durable as by default."""
    (port,) = free_ports(1)
    keys = write_keys(folder / "exchange" / "keys")
    environment = checkout_environment(home) | {
        "TOUCHSTONE_DATA_DIR": str(folder),
        "TOUCHSTONE_EXCHANGE_PORT": str(port),
        **{
            f"TOUCHSTONE_EXCHANGE_{name}": str(value)
            for name, value in (SETTINGS | settings).items()
        },
    }
    with running_service("paper_exchange", home, environment, folder) as process:
        wait_until(lambda: call_json(port, "GET", "/readyz")[0] == http.client.OK)
        yield Served(port, process, keys)


def write_keys(folder: Path) -> dict[str, list[Document]]:
    """Write key files, each of an account of its own, and return the keys by algorithm."""
    folder.mkdir(parents=True)
    found: dict[str, list[Document]] = {algorithm: [] for algorithm in ALGORITHMS}
    for algorithm, keys in found.items():
        for number in range(KEYS_A_KIND):
            account = f"{algorithm}-{number}".lower()
            key = {"name": f"organizations/bench/apiKeys/{account}", "privateKey": _pem(algorithm)}
            document = json.dumps({**key, "account": account})
            (folder / f"{account}.json").write_text(document, "utf-8")
            keys.append(
                {
                    "name": key["name"],
                    "private_key": key["privateKey"],
                    "algorithm": algorithm,
                }
            )
    return found


def _pem(algorithm: str) -> str:
    private_key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
    if algorithm == "ES256":
        private_key = ec.generate_private_key(ec.SECP256R1())
    else:
        private_key = ed25519.Ed25519PrivateKey.generate()
    return private_key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def load(served: Served, home: Path, module: str, **job: Any) -> Document:
    """Run a load process with a job and return its figures, with the CPU that both took."""
    before = served.cpu_seconds()
    found = run_load(home, module, {"port": served.port, **job})
    found["exchange_cpu_seconds"] = served.cpu_seconds() - before
    return found
