"""A fill written at once is the JSON of the fill that somebody has looked into."""

import pytest

from execution_providers import (
    AssetClass,
    ExecutionProvider,
    Fill,
    create_execution_provider,
)
from execution_providers.types import ExecutionRequest
from execution_providers.written import latency_ns_of, written
from lob.config import create_l3_config
from lob.errors import Fault
from tests.execution_providers.drawn import provider_of, requests
from touchstone.kit.codec import (
    decode_execution_request,
    decode_fill,
    encode_execution_request,
    encode_fill,
    encode_json,
    fill_to_json,
    named_by,
)

USUAL = "minimal"
SHORT = {"L2": False, USUAL: True, "instrument": True, "equity": True, "full": False}
"""Whether it executes in a book and without models, and so is written at once."""


def maker_of(kind: str, asset_class: AssetClass) -> ExecutionProvider:
    """Return a provider of a kind; `full` has every model on."""
    if kind != "full":
        return provider_of(kind, asset_class, 5)
    config = create_l3_config(kind, market_impact={"adv_quantity": 1e6})
    return create_execution_provider(asset_class, "L3", config=config, seed=5)


def fill_of(provider: ExecutionProvider, request: ExecutionRequest, seed: int) -> Fill | None:
    """Return the fill of a request; None for a fault."""
    try:
        return provider.execute(request.order, request.market, request.bar, seed=seed)
    except Fault:
        return None


@pytest.mark.parametrize("kind", SHORT)
def test_what_is_written_at_once_is_the_same_json(kind: str) -> None:
    """Byte for byte, with and without a bar, of every provider; most of the usual ones are."""
    answered = short = 0
    for request, seed in requests(seed=31, count=150):
        provider = maker_of(kind, request.asset_class)
        fill, looked_into = (fill_of(provider, request, seed) for _ in range(2))
        if fill is None or looked_into is None:
            continue
        expected = encode_json(fill_to_json(looked_into))
        assert written(looked_into) is None
        text = written(fill)
        assert text is None or expected == text.encode()
        assert expected == encode_fill(fill)
        assert looked_into.attribution.get("latency_ns") == latency_ns_of(fill)
        answered += 1
        short += text is not None and bool(fill.fills)
    assert 40 < answered
    assert (short > 10) is SHORT[kind]


def test_a_request_that_came_as_json_gives_the_same_fill() -> None:
    """Levels that were left as text are those that were made."""
    for request, seed in requests(seed=32, count=100):
        provider = provider_of(USUAL, request.asset_class, 5)
        came = decode_execution_request(encode_execution_request(request))
        fill, other = fill_of(provider, request, seed), fill_of(provider, came, seed)
        assert (None if fill is None else encode_fill(fill)) == (
            None if other is None else encode_fill(other)
        )


def test_what_a_decision_records_is_what_the_attribution_names() -> None:
    """Read of the JSON that came, or of the mapping."""
    for request, seed in requests(seed=33, count=60):
        for kind in ("L2", USUAL):
            fill = fill_of(provider_of(kind, request.asset_class, 5), request, seed)
            if fill is not None:
                told = fill.attribution
                expected = told["seed"], told["models"].get("config")
                assert expected == named_by(fill) == named_by(decode_fill(encode_fill(fill)))
