"""A traced order: its trace id is in the journal's intent, and in SQL behind it."""

from decimal import Decimal
from pathlib import Path

from lob.types import Side
from tests.services.books_harness import SYMBOL, housed
from touchstone.kit.trace import Carried, continued
from touchstone.perps.orders import Intent, OrderType

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


async def test_the_intent_of_a_traced_order_names_its_trace(tmp_path: Path) -> None:
    """An untraced one has no such key."""
    async with housed(f"sqlite:///{tmp_path}/events.db", tmp_path / "journal") as house:
        for name, parent in (("plain", ""), ("traced", f"00-{TRACE}-00f067aa0ba902b7-01")):
            intent = Intent(
                client_order_id=name,
                symbol=SYMBOL,
                side=Side.BUY,
                quantity=Decimal(1),
                order_type=OrderType.MARKET,
            )
            if parent:
                with continued(Carried(parent), "POST /v1/orders"):
                    house.ledger.place(intent)
            else:
                house.ledger.place(intent)
        await house.caught_up()
        events = await house.store.load_events(event_type="order_intent")
    found = {event["client_order_id"]: event["payload"].get("trace_id") for event in events}
    assert {"plain": None, "traced": TRACE} == found
