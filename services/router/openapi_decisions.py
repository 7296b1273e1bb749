"""The operations that show what was decided."""

from typing import Any, Final

from services.router.openapi_executions import EXAMPLE, FILL_EXAMPLE, GENERATION
from services.router.openapi_model import (
    EVERY,
    Answer,
    Operation,
    Schema,
    in_path,
    limit,
    nullable,
    query,
    ref,
    told,
)
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
    )
