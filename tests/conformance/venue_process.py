"""The paper exchange as a process of its own, with keys of every kind, for real clients."""

import base64
import contextlib
import json
import os
import secrets
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
from cryptography.hazmat.primitives.asymmetric import ed25519

from services.paper_exchange.keys import KEY_FILE, ensure_key_file
from tests.conftest import ROOT
from tests.services.paper_exchange import write_ed25519_key

START_SECONDS: Final = 30.0
HMAC_SECRET: Final = "legacy-" + secrets.token_hex(12)
"""Neither 88 characters long nor ending in `=`: ccxt would take it for an Ed25519 key."""


def write_keys(folder: Path) -> dict[str, dict[str, str]]:
    """Write a key of each kind, each but the viewer for an account of its own; return them."""
    raw = ed25519.Ed25519PrivateKey.generate()
    seed = raw.private_bytes_raw() + raw.public_key().public_bytes_raw()
    ensure_key_file(folder)
    documents: dict[str, dict[str, Any]] = {
        "es256": json.loads((folder / KEY_FILE).read_text()),
        "ed25519": {
            "name": "ed25519-key",
            "privateKey": base64.b64encode(seed).decode(),
            "account": "second",
        },
        "hmac": {"name": "legacy-key", "secret": HMAC_SECRET, "account": "third"},
        "slow": {**es256_key(folder), "account": "fourth", "rate_limit_per_second": 1.0},
        "viewer": {**es256_key(folder), "permissions": ["view"]},
    }
    for file_name, document in documents.items():
        if file_name != "es256":
            (folder / f"{file_name}.json").write_text(json.dumps(document))
    pem = write_ed25519_key(folder, "pem", account="fifth")
    documents["pem"] = {"name": pem.name, "privateKey": pem.private_key}
    return {
        kind: {
            "name": document["name"],
            "secret": document.get("secret") or document["privateKey"],
        }
        for kind, document in documents.items()
    }


def es256_key(folder: Path) -> dict[str, str]:
    """Return a new key as the venue's first start would write it."""
    document: dict[str, str] = json.loads(
        ensure_key_file(folder / secrets.token_hex(4)).read_text()
    )
    return document


def free_port() -> int:
    """Return a port that is free at this moment."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextlib.contextmanager
def venue_process(
    data_dir: Path, settings: dict[str, str], trust: Path | None = None
) -> Iterator[str]:
    """Run `python -m services.paper_exchange`; yield its host:port once it is ready.

    `trust` is the certificate to check it with, where it serves TLS. It is ended with SIGTERM and
    must then end with 0.
    """
    host = f"127.0.0.1:{free_port()}"
    log = (data_dir / "log.txt").open("w+")
    process = subprocess.Popen(
        [sys.executable, "-m", "services.paper_exchange"],
        cwd=ROOT,
        env={
            **{k: v for k, v in os.environ.items() if not k.startswith("TOUCHSTONE_")},
            "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
            "TOUCHSTONE_DATA_DIR": str(data_dir),
            "TOUCHSTONE_EXCHANGE_PORT": host.rpartition(":")[2],
            **{f"TOUCHSTONE_EXCHANGE_{name}": value for name, value in settings.items()},
        },
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        _wait_ready(process, host, trust, log.name)
        yield host
        process.send_signal(signal.SIGTERM)
        assert 0 == process.wait(timeout=20), Path(log.name).read_text()[-2000:]
        assert "Traceback" not in Path(log.name).read_text()
    finally:
        process.kill()
        process.wait()
        log.close()


def _wait_ready(process: subprocess.Popen[bytes], host: str, trust: Path | None, log: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    verify = ssl.create_default_context(cafile=str(trust)) if trust else True
    address = f"{'https' if trust else 'http'}://{host}/readyz"
    while True:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(address, timeout=2, verify=verify).status_code == 200:
                return
        assert process.poll() is None, Path(log).read_text()[-2000:]
        assert time.monotonic() < deadline, f"not ready within {START_SECONDS} s"
        time.sleep(0.05)
