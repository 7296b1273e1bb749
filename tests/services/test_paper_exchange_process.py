"""The service as a process: start, serve, stop, and one clear line for what goes wrong."""

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from websockets.sync.client import connect

from lob.errors import InvariantViolation, Unavailable
from services.paper_exchange.clock import ExchangeClock
from services.paper_exchange.venue import Venue
from tests.conftest import ROOT
from touchstone.exchange import Exchange, Updates

START_SECONDS = 15.0


def start(data_dir: Path, **environment: str) -> subprocess.Popen[str]:
    """Start the service with these `TOUCHSTONE_EXCHANGE_` settings."""
    return subprocess.Popen(
        [sys.executable, "-m", "services.paper_exchange"],
        cwd=ROOT,
        env={
            **{k: v for k, v in os.environ.items() if not k.startswith("TOUCHSTONE_")},
            "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
            "TOUCHSTONE_DATA_DIR": str(data_dir),
            **{f"TOUCHSTONE_EXCHANGE_{name}": value for name, value in environment.items()},
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def free_port() -> int:
    """Return a port that is free at this moment."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def until_ready(
    process: subprocess.Popen[str], url: str, verify: ssl.SSLContext | bool = True
) -> httpx.Response:
    """Return the readiness answer once there is one."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            return httpx.get(f"{url}/readyz", timeout=1, verify=verify)
        except httpx.TransportError:
            assert process.poll() is None, process.stderr and process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.05)


def stop(process: subprocess.Popen[str]) -> str:
    """Stop the service with SIGTERM, prove a clean end, and return what it logged."""
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=10)
    assert (0, "") == (process.returncode, output)
    assert "Traceback" not in errors
    return errors


def test_starts_serves_and_stops(tmp_path: Path) -> None:
    """The process is ready, feeds a WebSocket client, and ends with 0 on SIGTERM."""
    port = free_port()
    process = start(tmp_path, PORT=str(port))
    try:
        assert 200 == until_ready(process, f"http://127.0.0.1:{port}").status_code
        assert (tmp_path / "exchange" / "keys" / "cdp_api_key.json").is_file()
        with connect(f"ws://127.0.0.1:{port}", close_timeout=0.2) as peer:
            peer.send('{"type": "subscribe", "channel": "heartbeats"}')
            assert "subscriptions" in str(peer.recv(timeout=5))
            stop(process)
    finally:
        process.kill()
        process.wait()


def test_serves_tls_where_a_certificate_is_set(tmp_path: Path) -> None:
    """With a certificate the port speaks https, which the SDK needs where nothing is patched."""
    certificate, key = write_certificate(tmp_path)
    port = free_port()
    process = start(tmp_path, PORT=str(port), TLS_CERTIFICATE=str(certificate), TLS_KEY=str(key))
    try:
        trust = ssl.create_default_context(cafile=str(certificate))
        answer = until_ready(process, f"https://127.0.0.1:{port}", trust)
        assert 200 == answer.status_code
        stop(process)
    finally:
        process.kill()
        process.wait()


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """Write a self-signed certificate for 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "paper exchange")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"SEDE": "1"}, "TOUCHSTONE_EXCHANGE_SEDE: no such setting; did you mean"),
        ({"FLOW_SPEED": "0"}, "TOUCHSTONE_EXCHANGE_FLOW_SPEED: '0'"),
        ({"TLS_KEY": "k.pem"}, "set both or neither"),
        ({"TLS_KEY": "k.pem", "TLS_CERTIFICATE": "c.pem"}, "tls_certificate c.pem, tls_key k.pem"),
        (
            {"TLS_KEY": "README.md", "TLS_CERTIFICATE": "README.md"},
            "allowed: a PEM certificate and its PEM key",
        ),
        ({"RATE_LIMIT_PER_SECOND": "inf"}, "TOUCHSTONE_EXCHANGE_RATE_LIMIT_PER_SECOND: 'inf'"),
        ({"STARTING_BALANCE": "1e40"}, "TOUCHSTONE_EXCHANGE_STARTING_BALANCE: '1e40'"),
    ],
)
def test_a_wrong_setting_is_one_line(
    tmp_path: Path, environment: dict[str, str], message: str
) -> None:
    """A wrong setting names itself and ends the process with 2."""
    process = start(tmp_path, **environment)
    output, errors = process.communicate(timeout=START_SECONDS)
    assert (2, "") == (process.returncode, output)
    (line,) = errors.splitlines()
    assert message in line
    assert line.startswith("paper_exchange: ")


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    """A port in use ends the process with 1, without a traceback."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = start(tmp_path, PORT=str(port))
        _, errors = process.communicate(timeout=START_SECONDS)
    assert 1 == process.returncode
    assert [f"paper_exchange: cannot listen on 127.0.0.1:{port}: Address already in use"] == (
        errors.splitlines()
    )


class Silent:
    """A publisher that nobody listens to."""

    def publish(self, updates: Updates) -> None:
        """Drop the updates."""


async def test_a_broken_invariant_stops_the_venue_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the books cannot be trusted, every command is refused with the reason."""
    venue = Venue(Exchange(), ExchangeClock(1.0), Silent(), 0.05)
    venue.tick()

    def broken(*_: object) -> int:
        raise InvariantViolation("positions do not sum to 0")

    monkeypatch.setattr(venue.exchange, "advance", broken)
    with pytest.raises(InvariantViolation):
        venue.tick()
    monkeypatch.undo()
    with pytest.raises(Unavailable, match="the venue has stopped: positions do not sum to 0"):
        await venue.cancel("alice", ["x"])
