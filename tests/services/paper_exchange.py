"""A paper exchange on a free port, in a thread, for tests over real HTTP and WebSocket."""

import asyncio
import contextlib
import json
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import jwt
import uvicorn
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from services.paper_exchange.__main__ import server_options
from services.paper_exchange.app import create_app
from services.paper_exchange.keys import KEY_FILE
from services.paper_exchange.settings import ExchangeSettings
from services.paper_exchange.wiring import Components, wire

API = "/api/v3/brokerage"
BTC = "BTC-PERP-INTX"
BIP = "BIP-20DEC30-CDE"
START_SECONDS = 10.0


@dataclass
class Key:
    """An API key as a client holds it."""

    name: str
    private_key: str
    algorithm: str

    def token(self, uri: str | None = None, **claims: Any) -> str:
        """Return a JWT as Coinbase's SDK makes it, with `claims` changed (None leaves one out)."""
        now = int(time.time())
        body: dict[str, Any] = {"sub": self.name, "iss": "cdp", "nbf": now, "exp": now + 120}
        if uri is not None:
            body["uri"] = uri
        body |= claims
        body = {name: value for name, value in body.items() if value is not None}
        headers = {"kid": self.name, "nonce": secrets.token_hex()}
        return jwt.encode(body, self.private_key, algorithm=self.algorithm, headers=headers)


def write_ed25519_key(folder: Path, file_name: str, **fields: Any) -> Key:
    """Write an Ed25519 key file (PEM) and return the key."""
    private_key = ed25519.Ed25519PrivateKey.generate()
    pem = private_key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
    name = f"organizations/paper/apiKeys/{file_name}"
    folder.mkdir(parents=True, exist_ok=True)
    document = {"name": name, "privateKey": pem, **fields}
    (folder / f"{file_name}.json").write_text(json.dumps(document))
    return Key(name, pem, "EdDSA")


@dataclass
class RunningExchange:
    """A served paper exchange; `components` belong to its thread, so tests only read them."""

    port: int
    data_dir: Path
    components: Components
    client: httpx.Client

    @property
    def host(self) -> str:
        """Return host:port, as clients name it."""
        return f"127.0.0.1:{self.port}"

    @property
    def key_file(self) -> Path:
        """Return the venue's own key file."""
        return self.data_dir / "exchange" / "keys" / KEY_FILE

    @property
    def key(self) -> Key:
        """Return the venue's own key."""
        document = json.loads(self.key_file.read_text())
        return Key(document["name"], document["privateKey"], "ES256")

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        key: Key | None = None,
        token: str | None = None,
        content: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        """Send one request below the API's prefix, signed with the venue's own key or `key`."""
        path = f"{API}{path}"
        uri = f"{method} {self.host}{path.partition('?')[0]}"
        signed = token if token is not None else (key or self.key).token(uri)
        return self.client.request(
            method,
            f"http://{self.host}{path}",
            headers={"Authorization": f"Bearer {signed}", **(headers or {})},
            content=content if content is not None else json.dumps(body or {}).encode(),
        )

    def create(self, **fields: Any) -> dict[str, Any]:
        """Post an order for one nano contract far below the market, with `fields` changed."""
        body = {
            "client_order_id": secrets.token_hex(8),
            "product_id": BIP,
            "side": "BUY",
            "order_configuration": gtc("1", "50000"),
            **fields,
        }
        answer = self.call("POST", "/orders", body)
        assert answer.status_code == 200, answer.text
        result: dict[str, Any] = answer.json()
        return result


def gtc(size: str, price: str, **options: Any) -> dict[str, Any]:
    """Return a GTC limit configuration."""
    return {"limit_limit_gtc": {"base_size": size, "limit_price": price, **options}}


@contextlib.contextmanager
def running_exchange(data_dir: Path, **options: Any) -> Iterator[RunningExchange]:
    """Serve a paper exchange with these settings until the block ends."""
    # Tests connect as fast as they like; the ones about these limits set them.
    generous = {"connections_per_second": 1_000, "unauthenticated_messages_per_second": 1_000}
    settings = ExchangeSettings(
        **{"TOUCHSTONE_DATA_DIR": data_dir, "port": 0, **generous, **options}
    )
    started = threading.Event()
    found: list[Components] = []
    failures: list[BaseException] = []
    # asyncio turns Nagle's delay off only where the socket says that it is TCP.
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.bind(("127.0.0.1", 0))
    servers: list[uvicorn.Server] = []

    async def serve() -> None:
        async with wire(settings) as components:
            config = uvicorn.Config(
                create_app(components),
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=1,
                **server_options(),
            )
            servers.append(uvicorn.Server(config))
            found.append(components)
            started.set()
            await servers[0].serve(sockets=[sock])

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:  # noqa: BLE001 - told to the test's own thread
            failures.append(error)
            started.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    started.wait(START_SECONDS)
    wait_until(lambda: bool(failures) or (bool(servers) and servers[0].started))
    if failures:
        sock.close()
        raise failures[0]
    try:
        with httpx.Client(timeout=5) as client:
            yield RunningExchange(sock.getsockname()[1], data_dir, found[0], client)
    finally:
        servers[0].should_exit = True
        thread.join(10)
        sock.close()
    assert not thread.is_alive()
    assert [] == failures


def wait_until(condition: Callable[[], bool], seconds: float = START_SECONDS) -> None:
    """Return when `condition()` holds; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.01)
