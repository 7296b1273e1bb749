"""Coinbase's own SDK, unmodified, pointed at the venues in the two documented ways."""

import time
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import requests
from coinbase.rest import RESTClient

from tests.conformance.runner import Target

BTC = "BTC-PERP-INTX"
BIP = "BIP-20DEC30-CDE"
TICK = Decimal(5)


class PlainHTTP(requests.adapters.HTTPAdapter):
    """Send to http what the SDK addresses to https: it has no setting for that."""

    def send(self, request: Any, *args: Any, **options: Any) -> requests.Response:
        """Rewrite the scheme and send."""
        request.url = request.url.replace("https://", "http://", 1)
        return super().send(request, *args, **options)


def over_tls(target: Target, key: str, **options: Any) -> RESTClient:
    """Return a client of the quiet venue; REQUESTS_CA_BUNDLE is all that it is told."""
    credentials = target.keys[key]
    return RESTClient(
        api_key=credentials.name, api_secret=credentials.secret, base_url=target.tls, **options
    )


def over_http(target: Target, key: str, **options: Any) -> RESTClient:
    """Return a client of the lively venue, with the adapter of the guide."""
    credentials = target.keys[key]
    client = RESTClient(
        api_key=credentials.name, api_secret=credentials.secret, base_url=target.plain, **options
    )
    client.session.mount("https://", PlainHTTP())
    return client


def new_id() -> str:
    """Return a client order id."""
    return str(uuid.uuid4())


def touch(client: RESTClient, product_id: str) -> tuple[Decimal, Decimal]:
    """Return the best bid and ask."""
    (book,) = client.get_best_bid_ask(product_ids=[product_id]).pricebooks
    return Decimal(book.bids[0].price), Decimal(book.asks[0].price)


def reference(client: RESTClient) -> Decimal:
    """Return a price about which the quiet venue's contract can be traded."""
    return Decimal(round(Decimal(client.get_product(BIP).price) / TICK)) * TICK


def accepted(answer: Any) -> str:
    """Return the order id of an accepted order."""
    assert answer.success, answer.error_response
    order_id: str = answer.success_response["order_id"]
    return order_id


def refused(answer: Any) -> str:
    """Return the reason of a refusal, which the SDK hands back as an object."""
    assert not answer.success, answer.to_dict()
    reason: str = answer.error_response["error"]
    return reason


def status(client: RESTClient, order_id: str) -> str:
    """Return what the order is now."""
    found: str = client.get_order(order_id).order.status
    return found


def eventually(condition: Callable[[], bool], seconds: float = 40.0) -> None:
    """Return when the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)


def http_problem(call: Callable[[], object]) -> str:
    """Return the text with which the SDK raises."""
    try:
        call()
    except requests.HTTPError as error:
        return str(error)
    raise AssertionError("nothing was raised")


def http_status(call: Callable[[], object]) -> int:
    """Return the HTTP status with which the SDK raises."""
    return int(http_problem(call).partition(" ")[0])


def flatten(client: RESTClient) -> None:
    """Cancel what is open; what is held is closed against the other accounts by the cases."""
    open_ids = [order.order_id for order in client.list_orders(order_status=["OPEN"]).orders]
    if open_ids:
        client.cancel_orders(open_ids)
