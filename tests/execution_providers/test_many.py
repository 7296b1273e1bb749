"""A batch answers what its orders get one by one, in their order."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from execution_providers import ExecutionProvider, Fill, Order, create_execution_provider
from lob.config import create_l3_config
from lob.errors import Fault, InvalidInput
from tests.execution_providers.drawn import requests
from tests.execution_providers.scenes import bar, ladder
from touchstone.kit.codec import fill_to_json


def two() -> ExecutionProvider:
    """Return L2."""
    return create_execution_provider("EQUITY", "L2", seed=5)


def three(preset: str) -> Callable[[], ExecutionProvider]:
    """Return what makes L3 of a preset; the market's volume is told by the configuration."""
    sections = {"market_impact": {"adv_quantity": 1e6}}
    config = create_l3_config(preset, **sections)
    return lambda: create_execution_provider("EQUITY", "L3", config=config, seed=5)


def told(answer: Fill | Fault | None) -> object:
    """Return an answer as JSON values, or the text of a fault."""
    if isinstance(answer, Fault):
        return f"{type(answer).__name__}: {answer}"
    assert answer is not None
    return fill_to_json(answer)


@pytest.mark.parametrize("make", [two, three("minimal"), three("equity"), three("full")])
@pytest.mark.parametrize("seeded", [False, True])
def test_a_batch_is_its_orders_one_by_one(
    make: Callable[[], ExecutionProvider], seeded: bool
) -> None:
    """Fills and faults are the same, whatever market or order came before; so are the counts."""
    drawn = list(requests(seed=21, count=40))
    orders = [request.order for request, _ in drawn]
    seeds = [seed for _, seed in drawn] if seeded else None
    batch, single = make(), make()
    for request, _ in drawn[:4]:
        answers = batch.execute_many(orders, request.market, request.bar, seeds=seeds)
        expected: list[object] = []
        for place, order in enumerate(orders):
            seed = None if seeds is None else seeds[place]
            try:
                fill = single.execute(order, request.market, request.bar, seed=seed)
            except Fault as fault:
                expected.append(told(fault))
                continue
            expected.append(told(fill))
        assert expected == [told(answer) for answer in answers]
    assert single.stats() == batch.stats()


def test_one_wrong_order_leaves_the_others_alone() -> None:
    """A stop without a last price is a fault in its place."""
    market = ladder()
    stop = Order("ABC", "BUY", 5, "STOP", None, "101")  # type: ignore[arg-type]
    plain = Order("ABC", "BUY", 5)  # type: ignore[arg-type]
    first, second, third = two().execute_many(
        [plain, stop, plain], replace(market, last_price=None)
    )
    assert isinstance(second, InvalidInput)
    assert told(first) == told(third)


def test_seeds_are_one_for_each_order() -> None:
    """Too few are refused before anything is executed."""
    provider = two()
    orders = [Order("ABC", "BUY", 5)] * 2  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match=r"seeds: 1; allowed: one for each order \(2\)"):
        provider.execute_many(orders, ladder(), bar(), seeds=[1])
    assert 0 == provider.stats()["executions"]
    assert [] == provider.execute_many([], ladder())
