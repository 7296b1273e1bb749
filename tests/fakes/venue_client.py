"""A hand at the paper exchange beside the gateway's: places orders and looks, with its own key."""

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from services.order_gateway.venue_account import CoinbaseAccount, LiveOrder
from services.order_gateway.venues.coinbase_auth import ApiKeySigner

T = TypeVar("T")


def make_key(folder: Path, name: str, account: str = "default") -> Path:
    """Write another API key of an account into the exchange's folder, before it starts."""
    pem = (
        ec.generate_private_key(ec.SECP256R1())
        .private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
        .decode()
    )
    path = folder / "exchange" / "keys" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = {"name": f"organizations/test/apiKeys/{name}", "privateKey": pem, "account": account}
    path.write_text(json.dumps(key))
    path.chmod(0o600)
    return path


class VenueHand:
    """Blocking calls to one account of a paper exchange."""

    def __init__(self, url: str, key_file: Path) -> None:
        self.url = url
        self._key_file = key_file

    def order(self, product_id: str, side: str, configuration: dict[str, Any]) -> str:
        """Place an order and return its id; fail where it is refused."""
        body = {
            "client_order_id": f"hand-{uuid.uuid4()}",
            "product_id": product_id,
            "side": side,
            "order_configuration": configuration,
        }

        async def place(account: CoinbaseAccount) -> Any:
            return await account._call("POST", "/orders", body=body)

        answer = self._with(place)
        assert answer["success"], answer
        return str(answer["success_response"]["order_id"])

    def market(self, product_id: str, side: str, size: str) -> str:
        """Trade at once."""
        return self.order(product_id, side, {"market_market_ioc": {"base_size": size}})

    def price(self, product_id: str, share: str) -> str:
        """Return a price of so many times the bid, on the tick."""

        async def look(account: CoinbaseAccount) -> Any:
            return await account._get(f"/products/{product_id}")

        product = self._with(look)
        step = Decimal(product["price_increment"])
        return f"{Decimal(product['price']) * Decimal(share) // step * step:f}"

    def rest(self, product_id: str, side: str, size: str, share: str) -> str:
        """Leave a limit order in the book, far from the market."""
        terms = {"base_size": size, "limit_price": self.price(product_id, share)}
        return self.order(product_id, side, {"limit_limit_gtc": terms})

    def stop(self, product_id: str, side: str, size: str, share: str) -> str:
        """Leave a reduce-only stop-limit that protects a position."""
        price = self.price(product_id, share)
        terms = {
            "base_size": size,
            "limit_price": price,
            "stop_price": price,
            "stop_direction": f"STOP_DIRECTION_STOP_{'DOWN' if side == 'SELL' else 'UP'}",
            "reduce_only": True,
        }
        return self.order(product_id, side, {"stop_limit_stop_limit_gtc": terms})

    def orders(self) -> list[LiveOrder]:
        """Return what may still trade."""
        return self._with(lambda account: account.working_orders())

    def positions(self) -> dict[str, Decimal]:
        """Return what is open."""
        return self._with(lambda account: account.positions())

    def _with(self, call: Callable[[CoinbaseAccount], Awaitable[T]]) -> T:
        async def run() -> T:
            signer = ApiKeySigner(self._key_file, lifetime_seconds=30)
            async with CoinbaseAccount(self.url, signer) as account:
                return await call(account)

        return asyncio.run(run())
