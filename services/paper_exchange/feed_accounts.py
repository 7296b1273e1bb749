"""What the feed tells an account about itself: positions and the futures balance, as texts."""

from typing import Any

from services.paper_exchange import shapes_cfm, shapes_intx
from services.paper_exchange.feed_events import compact
from touchstone.exchange import Exchange


def positions(exchange: Exchange, account: str) -> dict[str, list[Any]]:
    """Return the account's open positions as the `user` channel shows them."""
    return {
        "perpetual_futures_positions": [
            _plain(position)
            for position in shapes_intx.positions_shape(exchange, account)["positions"]
        ],
        "expiring_futures_positions": [
            {
                "product_id": position["product_id"],
                "side": position["side"],
                "number_of_contracts": position["number_of_contracts"],
                "realized_pnl": position["daily_realized_pnl"],
                "unrealized_pnl": position["unrealized_pnl"],
                "entry_price": position["avg_entry_price"],
            }
            for position in shapes_cfm.positions_shape(exchange, account)["positions"]
        ],
    }


def balance_summary(exchange: Exchange, account: str) -> dict[str, Any]:
    """Return the fields of `/cfm/balance_summary` with plain texts for amounts."""
    return _plain(shapes_cfm.balance_shape(exchange, account)["balance_summary"])


def balance_events(kind: str, summary: dict[str, Any]) -> bytes:
    """Return the event of a balance summary."""
    return compact([{"type": kind, "fcm_balance_summary": summary}])


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    """Return fields with every `{value, currency}` as its value."""
    return {
        name: value["value"] if isinstance(value, dict) and "currency" in value else value
        for name, value in fields.items()
    }
