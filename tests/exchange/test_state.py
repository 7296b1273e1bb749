"""A venue's state: one hash, kept and restored, the same whoever looks at it and however."""

import os
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from lob.errors import Conflict, InvariantViolation
from lob.types import Side, TimeInForce
from tests.conftest import ROOT
from touchstone.exchange import PRODUCTS, Exchange, ExchangeConfig, OrderRequest
from touchstone.exchange.background import FlowKind
from touchstone.exchange.commands import (
    Allocate,
    CancelOrders,
    ClosePosition,
    CreateOrder,
    EditOrder,
    PauseFlow,
    Resume,
    apply,
)
from touchstone.exchange.portfolios import CreatePortfolio
from touchstone.exchange.requests import Bracket, CloseRequest, EditRequest, StopDirection
from touchstone.exchange.state import dump, layout_difference, load, outcome, state_hash, survey

SECOND = 10**9
BTC, BIP = PRODUCTS[0], PRODUCTS[2]


def request(name: str, offset: int | None = None, **changes: Any) -> OrderRequest:
    """Return an order of ten lots, `offset` ticks from the first price or at market."""
    product = changes.pop("product", BTC)
    tick = product.instrument.tick_size
    return OrderRequest(
        **{
            "client_order_id": name,
            "product_id": product.product_id,
            "side": Side.BUY,
            "size": product.instrument.quantity(10),
            "limit_price": None if offset is None else product.reference_price + offset * tick,
            "time_in_force": TimeInForce.IOC if offset is None else TimeInForce.GTC,
            **changes,
        }
    )


def lived(flow: FlowKind, products: Any = (BTC, BIP)) -> Exchange:
    """Return a venue with some of everything: orders of each kind, positions, a portfolio."""
    exchange = Exchange(ExchangeConfig(flow=flow, products=products))
    for name in ("alice", "bob"):
        exchange.open_account(name)
    exchange.advance(2 * SECOND)
    low = {"limit_price": BTC.reference_price - 50, "stop_price": BTC.reference_price - 40}
    stop = request("stop", 0, side=Side.SELL, stop_direction=StopDirection.DOWN, **low)
    bracket = Bracket(BTC.reference_price + 4000, BTC.reference_price - 4000)
    for command in (
        CreateOrder(account="bob", request=request("ask", 0, side=Side.SELL)),
        CreateOrder(account="alice", request=request("taker")),
        CreateOrder(account="alice", request=request("resting", -300, attached=bracket)),
        CreateOrder(account="alice", request=stop),
        CreateOrder(account="alice", request=request("post", -400, post_only=True)),
        CreatePortfolio(account="alice", name="beside"),
    ):
        apply(exchange, command)
    exchange.advance(4 * SECOND)
    return exchange


@pytest.mark.parametrize("flow", list(FlowKind))
def test_a_restored_venue_goes_on_alike(flow: FlowKind) -> None:
    """Kept and restored, a venue has the same hash, and still has it a while later."""
    exchange = lived(flow)
    exchange.drain()
    kept = dump(exchange)
    restored = load(kept)
    assert state_hash(exchange) == restored.state_hash()
    for venue in (exchange, restored):
        venue.advance(6 * SECOND)
        apply(venue, CreateOrder(account="bob", request=request("later", 3)))
        apply(venue, Resume(until_ns=4_000 * SECOND))
        venue.advance(4_002 * SECOND)
        venue.check()
    assert exchange.drain() == restored.drain()
    assert state_hash(exchange) == state_hash(restored)
    assert outcome(exchange) == outcome(restored)
    assert exchange.order("alice", "unknown") is None


def test_another_process_comes_to_the_same(tmp_path: Path) -> None:
    """Nothing hangs on an address, on hash seeds, or on what else a process has done."""
    exchange = lived(FlowKind.ZERO_INTELLIGENCE)
    path = tmp_path / "kept"
    path.write_bytes(dump(exchange))
    script = (
        "import sys; from touchstone.exchange.state import load;"
        "venue = load(open(sys.argv[1], 'rb').read()); before = venue.state_hash();"
        "venue.advance(9 * 10**9); print(before, venue.state_hash())"
    )
    found = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        env={**os.environ, "PYTHONHASHSEED": "77", "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    before = state_hash(exchange)
    exchange.advance(9 * SECOND)
    assert [before, state_hash(exchange)] == found


def test_looking_changes_nothing() -> None:
    """Questions, previews and drains leave the hash as it was."""
    exchange = lived(FlowKind.ZERO_INTELLIGENCE)
    before = state_hash(exchange)
    for name in exchange.accounts:
        exchange.orders(name)
        exchange.open_orders(name)
        exchange.fills(name)
        exchange.equity(name)
        exchange.margin_requirement(name)
    exchange.preview("alice", request("preview", 5))
    edit = EditRequest(order_id=exchange.orders("alice")[0].order_id, price=BTC.reference_price)
    exchange.preview_edit("alice", edit)
    exchange.marks()
    exchange.conserved_total()
    exchange.check()
    for market in exchange.markets.values():
        market.levels(10)
        market.candles.day(exchange.now_ns)
    exchange.drain()
    assert before == state_hash(exchange)


def test_every_change_changes_the_hash() -> None:
    """Each command, and time, leads to a hash that was not there before."""
    exchange = lived(FlowKind.NONE)
    first = exchange.orders("alice")[0]
    changes: list[Callable[[], object]] = [
        lambda: exchange.advance(exchange.now_ns + 1),
        lambda: exchange.advance(exchange.now_ns + 1),
        lambda: exchange.open_account("carol"),
        *(
            lambda command=command: apply(exchange, command)
            for command in (
                PauseFlow(paused=True),
                CreateOrder(account="bob", request=request("far", -500)),
                CreateOrder(account="bob", request=request("farther", -501)),
                EditOrder(
                    account="alice",
                    request=EditRequest(
                        order_id=first.order_id,
                        price=BTC.reference_price - 42,
                        size=BTC.instrument.quantity(5),
                    ),
                ),
                CancelOrders(account="alice", order_ids=(first.order_id,)),
                CreateOrder(account="alice", request=request("offer", 9, side=Side.SELL)),
                ClosePosition(
                    account="bob",
                    request=CloseRequest(client_order_id="c", product_id=BTC.product_id),
                ),
            )
        ),
    ]
    seen = {state_hash(exchange)}
    for place, change in enumerate(changes):
        change()
        found = state_hash(exchange)
        assert found not in seen, place
        seen.add(found)


def test_a_refusal_leaves_no_trace() -> None:
    """What was refused did not happen."""
    exchange = lived(FlowKind.NONE)
    before = state_hash(exchange)
    apply(exchange, CreateOrder(account="alice", request=request("big", 0, size=Decimal(900))))
    with pytest.raises(Exception, match=r"isolated|margin|position|product"):
        _raise_refusal(
            apply(
                exchange,
                Allocate(account="alice", product_id=BTC.product_id, amount=Decimal(10**9)),
            )
        )
    assert before == state_hash(exchange)


def _raise_refusal(answer: object) -> None:
    """Make one thing of the two ways in which a command says no."""
    if answer is not None:
        raise ValueError(str(answer))


def test_what_cannot_be_kept_is_said() -> None:
    """An object that only this process can have is refused by name, not left out."""
    exchange = Exchange(ExchangeConfig(flow=FlowKind.NONE))
    exchange.oddity = iter([1])  # type: ignore[attr-defined]
    with pytest.raises(InvariantViolation, match="state: a list_iterator cannot be kept"):
        state_hash(exchange)


def test_bytes_of_other_classes_are_refused() -> None:
    """What today's classes cannot be made from is a conflict, with the reason."""
    kept = dump(Exchange(ExchangeConfig(flow=FlowKind.NONE)))
    with pytest.raises(Conflict, match=r"state: .*OtherThing"):
        load(kept.replace(b"OptionBook", b"OtherThing"))
    with pytest.raises(Conflict):
        load(kept[:-10])


def test_layouts_are_compared_by_class() -> None:
    """A class that is gone, a field that is new, an attribute that nobody sets any more."""
    exchange = lived(FlowKind.NONE)
    _, kept = survey(exchange)
    fresh = Exchange(ExchangeConfig(flow=FlowKind.NONE, products=(BTC, BIP)))
    assert "" == layout_difference(kept, survey(fresh)[1])
    order = "touchstone.exchange.orders:Order"
    market = "touchstone.exchange.market:Market"
    for changed, said in (
        ({"touchstone.exchange.orders:Gone": ["a"]}, "orders:Gone: is no more"),
        ({order: [name for name in kept[order] if name != "number"]}, f"{order}: number"),
        ({market: [*kept[market], "forgotten"]}, f"{market}: forgotten"),
    ):
        assert layout_difference({**kept, **changed}, kept).endswith(said)
