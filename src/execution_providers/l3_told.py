"""What an execution without models says of itself, as a mapping or as JSON at once."""

import json
from typing import Any, Final, NamedTuple

from execution_providers.l3_arrival import Outcome
from execution_providers.l3_flow import COUNT_NAMES
from execution_providers.l3_plan import Plan
from execution_providers.provider import OwnSeed
from execution_providers.rules import NO_LIQUIDITY
from execution_providers.slippage import plain
from execution_providers.types import BarData

_NO_EVENTS: Final = dict.fromkeys(COUNT_NAMES, 0)
_NO_EVENTS_TEXT: Final = json.dumps(_NO_EVENTS, separators=(",", ":"))


class Told(NamedTuple):
    """What it was made of; called, it gives the provider's own part of the attribution."""

    seed: OwnSeed
    plan: Plan
    bar: BarData | None
    latency_ns: int
    outcome: Outcome

    def __call__(self) -> dict[str, Any]:
        """Return the mapping."""
        seed, plan, bar, latency_ns, outcome = self
        in_flight = outcome.in_flight
        told: dict[str, Any] = {
            "seed": seed.value,
            "models": plan.names(bar),
            "latency_ns": latency_ns,
            "events_in_flight": _NO_EVENTS.copy() if in_flight is None else in_flight,
        }
        if outcome.refused is not None:
            told["reason"] = outcome.refused
            return told
        if outcome.queue_ahead is not None:
            told["queue_ahead"] = plain(outcome.queue_ahead)
        if outcome.while_resting is not None:
            told["events_while_resting"] = outcome.while_resting
        if not outcome.fills:
            told["reason"] = NO_LIQUIDITY
        return told

    def written(self) -> str | None:
        """Return the same as JSON, without the brackets; None where it is more than usual.

        Usual is an order of which something filled while nobody else acted.
        """
        seed, plan, bar, latency_ns, outcome = self
        fills, _, _, refused, ahead, in_flight, resting = outcome
        if not fills or refused or in_flight is not None or resting is not None:
            return None
        queue = "" if ahead is None else f',"queue_ahead":"{plain(ahead)}"'
        return (
            f'"seed":{seed.value},"models":{plan.names_text(bar)},"latency_ns":{latency_ns},'
            f'"events_in_flight":{_NO_EVENTS_TEXT}{queue}'
        )
