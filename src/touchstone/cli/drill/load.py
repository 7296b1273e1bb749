"""The load of the survival drill: orders through the gateway, each with a client id of its own.

A request that is not answered is repeated under the same id until it is, as a careful client does:
so a gateway that lost the first one takes it, and one that has it answers with the same order.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Self

import httpx

PREFIX: Final = "survive-"
CREATED: Final = 201
REPEATED: Final = 200
UNKNOWN: Final = 202
REST_EVERY: Final = 4


@dataclass(slots=True)
class Sent:
    """One order of the load: when it was answered and how, None while it never was."""

    client_order_id: str
    body: dict[str, Any]
    attempts: int = 0
    status: int | None = None
    code: str = ""
    answered_at: float = 0.0

    @property
    def taken(self) -> bool:
        """Return whether the gateway said that the order is at the venue, or may be."""
        return self.status in (CREATED, REPEATED, UNKNOWN)


@dataclass
class Load:
    """Send orders at a steady pace from a thread of its own; use as a context manager."""

    url: str
    per_second: float
    price_of: Callable[[], float]
    sent: list[Sent] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Send no more; an order that is not answered yet stays so. Idempotent."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=20)

    def taken_since(self, at: float) -> Sent | None:
        """Return the first order that was begun and taken after `at` (monotonic seconds)."""
        return next((one for one in self.sent if one.taken and one.answered_at > at), None)

    def _run(self) -> None:
        with httpx.Client(base_url=self.url, timeout=8, trust_env=False) as client:
            number = 0
            while not self._stop.is_set():
                number += 1
                one = Sent(f"{PREFIX}{number}", self._terms(number))
                self.sent.append(one)
                self._send(client, one)
                if number % REST_EVERY == 0 and one.taken:
                    self._cancel(client, one.client_order_id)
                self._stop.wait(1 / self.per_second)

    def _send(self, client: httpx.Client, one: Sent) -> None:
        while not self._stop.is_set() or one.attempts == 0:
            one.attempts += 1
            try:
                answer = client.post("/v1/orders", json=one.body)
                body = answer.json()
            except (httpx.HTTPError, ValueError):
                # Nobody knows; the same again, under the same id.
                self._stop.wait(0.02)
                continue
            one.answered_at = time.monotonic()
            one.status, one.code = answer.status_code, str(body.get("error", {}).get("code", ""))
            return

    def _cancel(self, client: httpx.Client, client_order_id: str) -> None:
        try:
            client.delete(f"/v1/orders/{client_order_id}")
        except httpx.HTTPError:
            return

    def _terms(self, number: int) -> dict[str, Any]:
        body: dict[str, Any] = {
            "client_order_id": f"{PREFIX}{number}",
            "symbol": "BTC-PERP",
            "quantity": "0.01",
            "side": "BUY" if number % 2 else "SELL",
            "type": "MARKET",
        }
        if number % REST_EVERY == 0:
            far = int(self.price_of() * 0.9) // 5 * 5
            body |= {"side": "BUY", "type": "LIMIT", "limit_price": str(far), "post_only": True}
        return body
