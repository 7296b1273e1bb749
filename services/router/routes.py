"""Executions, assignments and the shadow comparison over HTTP."""

import asyncio
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query

from execution_providers import Fill
from lob.errors import InvalidInput
from services.router.execute import execution_posts
from services.router.wiring import Components
from touchstone.kit.codec import fill_to_json
from touchstone.rollout.assignment import LAYER
from touchstone.rollout.shadow import REFERENCES, ShadowPair, summarise
from touchstone.rollout.state import normalise

Reference = Annotated[str, Query(max_length=32, description="what the RMSE is against")]
Account = Annotated[str, Query(max_length=128, description="who asks; for the account lists")]


def execution_routes(components: Components) -> APIRouter:
    """Return the routes that execute and assign."""
    routes = APIRouter()
    router, settings = components.router, components.settings

    for path, answer in execution_posts(router, settings.batch_size_max).items():
        routes.add_route(path, answer, methods=["POST"])  # type: ignore[arg-type]

    @routes.get("/v1/assignments/{symbol}")
    async def assignment(symbol: str, account: Account = "") -> dict[str, Any]:
        """Say who would answer for a symbol now, and why."""
        found = router.assign(symbol, account)
        return {
            "symbol": normalise(symbol),
            "account": normalise(account),
            "arm": found.arm.value,
            "rule": found.rule.value,
            "bucket": found.bucket,
            "generation": found.generation,
            "layer": LAYER,
        }

    return routes


def shadow_routes(components: Components) -> APIRouter:
    """Return the routes that show the comparison of L3 with L2."""
    routes = APIRouter()
    shadow = components.shadow

    @routes.get("/v1/shadow/summary")
    async def summary(reference: Reference = "control") -> dict[str, Any]:
        """Summarise the pairs kept: bias, limits of agreement, RMSE, fill and error rates."""
        if reference not in REFERENCES:
            raise InvalidInput(f"reference: {reference!r}; allowed: {', '.join(REFERENCES)}")
        # One moment for all figures: while the thread computes, more orders are mirrored.
        pairs = shadow.store.pairs(shadow.now())
        counts = {
            "queue_depth": shadow.depth,
            "mirrored": shadow.mirrored,
            "dropped": shadow.dropped,
        }
        # Thousands of pairs take longer than an order may wait for its answer.
        found = await asyncio.to_thread(summarise, pairs, reference)
        return {
            **counts,
            "overall": asdict(found.overall),
            "by_symbol": {name: asdict(group) for name, group in found.by_symbol.items()},
            "by_side": {name: asdict(group) for name, group in found.by_side.items()},
            "by_size": {name: asdict(group) for name, group in found.by_size.items()},
            "by_spread": {name: asdict(group) for name, group in found.by_spread.items()},
            "noise_floor": None if found.noise_floor is None else asdict(found.noise_floor),
            "worst": [pair_to_json(pair) for pair in found.worst],
        }

    @routes.get("/v1/shadow/pairs")
    async def pairs(limit: Annotated[int, Query(ge=1, le=1_000)] = 100) -> dict[str, Any]:
        """Return the newest pairs, newest first."""
        kept = shadow.store.pairs(shadow.now())
        return {"pairs": [pair_to_json(pair) for pair in reversed(kept[-limit:])]}

    @routes.get("/v1/rollout/analysis")
    async def analysis() -> dict[str, Any]:
        """Return the judge's verdict with its evidence, and what the hard triggers see."""
        triggers = components.triggers.to_json() | {"shared": components.shared.to_json()}
        return {**components.analysis.to_json(), "triggers": triggers}

    return routes


def pair_to_json(pair: ShadowPair) -> dict[str, Any]:
    """Return a pair as JSON values, with both fills whole."""
    return {
        "decision_id": pair.decision_id,
        "generation": pair.generation,
        "at": pair.at,
        "symbol": pair.symbol,
        "side": pair.side,
        "quantity": str(pair.quantity),
        "inputs_digest": pair.inputs_digest,
        "seed": pair.seed,
        "difference_bps": pair.difference_bps,
        "error": pair.error,
        "control": fill_to_json(pair.control),
        "candidate": _fill_or_none(pair.candidate),
        "touch_multiple": pair.touch_multiple,
        "spread_bps": pair.spread_bps,
        "control_seconds": pair.control_seconds,
        "candidate_seconds": pair.candidate_seconds,
    }


def _fill_or_none(fill: Fill | None) -> dict[str, Any] | None:
    return None if fill is None else fill_to_json(fill)
