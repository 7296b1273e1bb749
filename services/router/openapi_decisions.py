"""The operations that show what was decided."""

from typing import Any, Final

from services.router.openapi_executions import EXAMPLE, FILL_EXAMPLE, GENERATION
from services.router.openapi_model import (
    EVERY,
    Answer,
    Body,
    Operation,
    Schema,
    closed,
    in_path,
    limit,
    nullable,
    query,
    ref,
    told,
)
from services.router.openapi_rollout import CHANGE
from services.router.routes_decisions import LIMIT_MAX
from touchstone.rollout.assignment import Arm
from touchstone.rollout.state import KEY_CHARACTERS_MAX

_TAG: Final = "decisions"
_ID: Final = "27314edbabf447a191d6ff4e39b53814"

RECORD: Final = told(
    {
        "kind": {"const": "decision"},
        "id": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
        "at": {"type": "number", "description": "Seconds since 1970."},
        "symbol": {"type": "string"},
        "account": {"type": "string"},
        "generation": GENERATION,
        "bucket": {"type": "integer", "minimum": 0},
        "arm": {"enum": list(Arm)},
        "rule": {"type": "string"},
        "seed": {"type": "integer"},
        "inputs_digest": {"type": "string"},
        "config_hash": {"type": "string"},
        "build": {"type": "string"},
        "request": {"type": ["object", "null"]},
        "fill": nullable({"type": "object"}),
    },
    description="One order's route and outcome with all that they depend on; `touchstone "
    "decisions replay` makes them again. See `docs/decisions.md`.",
)
SCHEMAS: Final[dict[str, Schema]] = {"DecisionRecord": RECORD}
REPLAYED: Final = told(
    {
        "same": {"type": "boolean"},
        "decisions": {"type": "integer", "minimum": 0},
        "candidates": {"type": "integer", "minimum": 0},
        "identical": {"type": "integer", "minimum": 0},
        "different": {"type": "integer", "minimum": 0},
        "build": {"type": "string"},
        "recorded_by_other_builds": {"type": "object"},
        "first_different": {"type": "array", "items": {"type": "object"}},
    },
    description="`same` says that everything made again equals the log byte for byte.",
)
_PROPOSED: Final = (
    "phase",
    "basis_points",
    "percentage",
    "salt",
    "canary_symbols",
    "canary_accounts",
    "deny_symbols",
    "deny_accounts",
)
PROPOSAL: Final = closed(
    {name: CHANGE["properties"][name] for name in _PROPOSED}
    | {
        "l3_config": {"type": "object", "description": "Another configuration of L3, whole."},
        "keep_failures": {
            "type": "boolean",
            "default": False,
            "description": "Also where the control state was away.",
        },
        "day": {"type": "string", "format": "date", "description": "Only this day (UTC)."},
    },
    (),
) | {
    "required": [],
    "anyOf": [{"required": [name]} for name in (*_PROPOSED, "l3_config")],
    "not": {"required": ["percentage", "basis_points"]},
}
_SHARE: Final = told(
    {"orders": {"type": "integer", "minimum": 0}, "notional": {"type": "string"}},
    description="Orders, and what they were worth in quote currency.",
)
_ROWS: Final = {"type": "array", "items": {"type": "object"}}
WHAT_IF: Final = told(
    {
        "proposal": {"type": "object"},
        "decisions": _SHARE,
        "moves": _SHARE,
        "ways": _ROWS,
        "symbols": _ROWS,
        "accounts": _ROWS,
        "changes": {"type": "object"},
    }
)

_EXAMPLE: Final[dict[str, Any]] = {
    "kind": "decision",
    "id": _ID,
    "at": 1767603265.94,
    "symbol": "AAPL",
    "account": "alice",
    "generation": 1,
    "bucket": 8489,
    "arm": "L2",
    "rule": "shadow",
    "seed": 0,
    "inputs_digest": "9b480dff19762006d2bdb20334a8873a",
    "config_hash": "5f0c9d1e7a60b3c2",
    "build": "0.1.0",
    "request": EXAMPLE,
    "fill": FILL_EXAMPLE,
}
_REPLAYED_EXAMPLE: Final = {
    "same": True,
    "decisions": 1,
    "candidates": 1,
    "identical": 2,
    "different": 0,
    "build": "0.1.0",
    "recorded_by_other_builds": {},
    "first_different": [],
}
_MOVED: Final = {"orders": 147, "notional": "3756555.325"}
_WHAT_IF: Final = {
    "proposal": {"document": {"phase": "EXPANSION", "basis_points": 5_000}, "enabled": True},
    "decisions": {"orders": 449, "notional": "24439828.435"},
    "moves": _MOVED,
    "ways": [{"from": "L2 by shadow", "to": "L3 by percentage", **_MOVED}],
    "symbols": [{"symbol": "NVDA", "moves": "L2 -> L3", **_MOVED}],
    "accounts": [{"account": "(none)", "moves": "L2 -> L3", **_MOVED}],
    "changes": {"executed_again": 147, "fills_that_differ": 2},
}


def operations() -> tuple[Operation, ...]:
    """Return the operations on decisions."""
    symbol = {"type": "string", "maxLength": KEY_CHARACTERS_MAX, "default": ""}
    identity = {"type": "string", "minLength": 1, "pattern": r"^[^/]+$"}
    return (
        Operation(
            method="GET",
            path="/v1/decisions",
            name="list_decisions",
            tag=_TAG,
            summary="List the newest decisions",
            description="Newest first, from memory; the log on disk has the older ones.",
            control=True,
            parameters=(
                limit(LIMIT_MAX, 100),
                query("symbol", symbol, "Only this symbol.", "AAPL"),
            ),
            answers={
                200: Answer(
                    "The decisions.",
                    told({"decisions": {"type": "array", "items": ref("DecisionRecord")}}),
                    {"one": {"decisions": [_EXAMPLE]}},
                    links={
                        "newest": {
                            "operationId": "show_decision",
                            "parameters": {"identity": "$response.body#/decisions/0/id"},
                        }
                    },
                )
            },
        ),
        Operation(
            method="GET",
            path="/v1/decisions/{identity}",
            name="show_decision",
            tag=_TAG,
            summary="Show a decision",
            description="As it is in the log, and what the candidate made of the same order where "
            "it was asked.",
            control=True,
            parameters=(in_path("identity", identity, "The id of an answer's decision.", _ID),),
            answers={
                200: Answer(
                    "The decision.",
                    told(
                        {
                            "decision": ref("DecisionRecord"),
                            "candidate": nullable({"type": "object"}),
                        }
                    ),
                    {"shadow": {"decision": _EXAMPLE, "candidate": None}},
                )
            },
            refusals=(*EVERY, 404),
        ),
        *_again(identity),
    )


def _again(identity: Schema) -> tuple[Operation, ...]:
    return (
        Operation(
            method="POST",
            path="/v1/decisions/{identity}/replay",
            name="replay_decision",
            tag=_TAG,
            summary="Make a decision again",
            description="Route and fills, from what the log has, in a process of its own at the "
            "lowest priority; one at a time. Needs no body.",
            control=True,
            parameters=(in_path("identity", identity, "The id of an answer's decision.", _ID),),
            answers={200: Answer("What came of it.", REPLAYED, {"same": _REPLAYED_EXAMPLE})},
            refusals=(*EVERY, 404, 503, 504),
        ),
        Operation(
            method="POST",
            path="/v1/rollout/what-if",
            name="what_if",
            tag="rollout",
            summary="Try a proposal on what was recorded",
            description="Runs the decisions of the log, of one day or of all, under the rollout "
            "proposed, as `touchstone decisions what-if` does; what is not named is as in the "
            "newest decision. Nothing is changed. In a process of its own at the lowest priority; "
            "one at a time, a quarter of an hour at most.",
            control=True,
            body=Body(
                PROPOSAL,
                {
                    "half": {"phase": "EXPANSION", "percentage": 0.5},
                    "canary": {"phase": "CANARY", "canary_symbols": ["AAPL", "MSFT"]},
                },
            ),
            answers={200: Answer("Who moves, and what changes.", WHAT_IF, {"one": _WHAT_IF})},
            refusals=(*EVERY, 404, 503, 504),
        ),
    )
