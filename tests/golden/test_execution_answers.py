"""What the providers answered to drawn requests stays what they answer, byte for byte.

`execution_answers.json` has a digest of a few hundred answers of each kind of provider: fills and
cost estimates as JSON, and the text of what was refused. A change of any answer is a change of that
file, and has to be meant.
"""

import json
from decimal import Context, localcontext
from hashlib import blake2b
from pathlib import Path
from typing import Final

import pytest

from execution_providers import AssetClass, ExecutionProvider, ExecutionRequest
from lob.errors import Fault
from tests.execution_providers.drawn import KINDS, provider_of, requests
from touchstone.kit.codec import cost_to_json, fill_to_json

COUNT: Final = 600
DIGESTS: Final[dict[str, str]] = json.loads(
    Path(__file__).with_name("execution_answers.json").read_text("utf-8")
)


def answer(provider: ExecutionProvider, request: ExecutionRequest, seed: int) -> str:
    """Return what became of a request and what it was estimated to cost, as text."""
    try:
        fill = provider.execute(request.order, request.market, request.bar, seed=seed)
        assert fill is not None
        cost = provider.estimate_execution_cost(request.order, request.market, request.bar)
    except Fault as fault:
        return f"{type(fault).__name__}: {fault}"
    told = fill_to_json(fill)
    # It names the configuration's text, which may gain a key without changing an answer.
    told["attribution"]["models"].pop("config", None)
    return json.dumps([told, cost_to_json(cost)])


def drawn(kind: str, count: int) -> list[tuple[ExecutionRequest, int]]:
    """Return requests, other ones for each kind of provider."""
    return list(requests(KINDS.index(kind), count))


def answers(kind: str, asked: list[tuple[ExecutionRequest, int]]) -> list[str]:
    """Return the answers of one kind of provider."""
    providers = {each: provider_of(kind, each, seed=7) for each in AssetClass}
    return [answer(providers[request.asset_class], request, seed) for request, seed in asked]


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_what_they_were(kind: str) -> None:
    """The digest of each kind's answers is the recorded one."""
    digest = blake2b(
        "\n".join(answers(kind, drawn(kind, COUNT))).encode(), digest_size=16
    ).hexdigest()
    assert DIGESTS[kind] == digest


@pytest.mark.parametrize("kind", ["L2", "equity"])
def test_no_decimal_context_of_a_threads_own_has_a_part_in_an_answer(kind: str) -> None:
    """A thread that counts to six digits gets the answers that every other gets."""
    asked = drawn(kind, 150)
    with localcontext(Context(prec=6)):
        coarse = answers(kind, asked)
    assert answers(kind, asked) == coarse
