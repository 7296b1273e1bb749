"""The operations of the rollout state: read it, change it, roll back, re-arm, look back."""

from typing import Any, Final

from lob.texts import KEY
from services.router.graceful import DRAIN_SECONDS_DEFAULT, DRAIN_SECONDS_MAX
from services.router.openapi_executions import GENERATION
from services.router.openapi_model import (
    ETAG,
    EVERY,
    FROM_REDIS,
    GENERATION_MAX,
    WORDS,
    Answer,
    Body,
    Operation,
    Schema,
    closed,
    in_path,
    limit,
    nullable,
    ref,
    told,
)
from touchstone.kit.control import ViewStatus
from touchstone.rollout.phases import REARM_PHASES
from touchstone.rollout.state import (
    BASIS_POINTS_MAX,
    KEY_CHARACTERS_MAX,
    LIST_ENTRIES_MAX,
    SALT_CHARACTERS_MAX,
    Phase,
)

_TAG: Final = "rollout"
_CHANGES: Final = (409, 428, *FROM_REDIS)
_REASON: Final[Schema] = WORDS | {"description": "Why; kept in the audit."}
_ACTOR: Final[Schema] = WORDS | {"description": "Who; kept in the audit.", "default": "api"}
_KEYS: Final[Schema] = {
    "type": "array",
    "maxItems": LIST_ENTRIES_MAX,
    "items": {
        "type": "string",
        "minLength": 1,
        "maxLength": KEY_CHARACTERS_MAX,
        "pattern": KEY,
    },
}
_POINTS: Final[Schema] = {"type": "integer", "minimum": 0, "maximum": BASIS_POINTS_MAX}
_SETTINGS: Final[dict[str, Schema]] = {
    "phase": {"enum": list(Phase)},
    "basis_points": _POINTS,
    "salt": {
        "type": "string",
        "minLength": 1,
        "maxLength": SALT_CHARACTERS_MAX,
        "pattern": KEY,
    },
    "canary_symbols": _KEYS,
    "canary_accounts": _KEYS,
    "deny_symbols": _KEYS,
    "deny_accounts": _KEYS,
    "schedule_armed": {"type": "boolean"},
}
_IF_MATCH_TEXT: Final = "The generation that the change is based on, as in the ETag."
_IF_MATCH: Final[Schema] = {
    "name": "If-Match",
    "in": "header",
    # Left out, the answer is 428: that a router refuses it is part of the contract.
    "required": False,
    "schema": {"type": "string", "pattern": '^("[0-9]{1,16}"|[0-9]{1,16})$'},
    "description": f"{_IF_MATCH_TEXT} Without it: 428.",
    "example": '"1"',
}

DOCUMENT: Final = told(_SETTINGS, description="What a person decides about the rollout.")
CHANGE: Final = closed(
    _SETTINGS
    | {
        "percentage": {
            "description": "In place of `basis_points`: a fraction 0..1 in steps of 0.0001.",
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": 1, "multipleOf": 0.0001},
                {"type": "string", "pattern": r"^(0(\.[0-9]{1,4})?|1(\.0{1,4})?)$"},
            ],
        },
        "reason": _REASON,
        "actor": _ACTOR,
    },
    (),
    description="What is not named keeps its value; `percentage` and `basis_points` exclude each "
    "other. What a phase allows is in `docs/rollout.md`.",
) | {
    "required": [],
    # Who and why is no change.
    "anyOf": [{"required": [name]} for name in (*_SETTINGS, "percentage")],
    "not": {"required": ["percentage", "basis_points"]},
}
_RECORD: Final[dict[str, Schema]] = {
    "generation": GENERATION,
    "phase": nullable({"enum": list(Phase)}),
    "document": nullable(ref("RolloutDocument")),
    "actor": {"type": "string"},
    "reason": {"type": "string"},
    "updated_at": {"type": "string", "format": "date-time"},
}
STATE: Final = told(
    _RECORD
    | {
        "basis_points": _POINTS,
        "percentage": {"type": "number", "minimum": 0, "maximum": 1},
        "control": told(
            {
                "known": {"type": "boolean"},
                "status": {"enum": list(ViewStatus)},
                "age_seconds": {"type": ["number", "null"]},
                "leased": {"type": "boolean"},
                "applied_generation": GENERATION,
                "seen_generation": GENERATION,
                "rolled_back_here": {"type": "boolean"},
                "why": {"type": "string"},
            },
            description="How this router knows it.",
        ),
        "flags": told(
            {
                "environment_allows": {"type": "boolean"},
                "off_because": {"type": "array", "items": {"type": "string"}},
            }
        ),
        "l3_may_answer": {"type": "boolean"},
    },
    ("generation", "phase", "document", "control", "flags", "l3_may_answer"),
)
AUDIT: Final = told(
    {"entries": {"type": "array", "items": told({"id": {"type": "string"}} | _RECORD)}}
)
_SECONDS: Final[Schema] = {"type": "number", "minimum": 0}
ROLLBACK: Final = told(
    {
        "rolled_back": {"const": True},
        "persisted": {"type": "boolean", "description": "Whether Redis has it."},
        "confirmed": {"type": "boolean"},
        "generation": nullable(GENERATION),
        "acked": nullable(GENERATION)
        | {"description": "The generation, once no router can begin anything under an older one."},
        "acks": {
            "type": "array",
            "items": told({"member": {"type": "string"}, "seconds": _SECONDS}),
        },
        "lapsed": {"type": "array", "items": {"type": "string"}},
        "seconds": _SECONDS,
        "why": {"type": "string"},
        "mode": {"const": "graceful"},
        "drain": told({"needed": {"type": "boolean"}, "drained": {"type": "boolean"}}),
        "verified": told({"all_on_l2": {"type": "boolean"}, "here": {"type": "boolean"}}),
    },
    (
        "rolled_back",
        "persisted",
        "confirmed",
        "generation",
        "acked",
        "acks",
        "lapsed",
        "seconds",
    ),
    description="`mode`, `drain` and `verified` are there after a graceful rollback.",
)
DOSSIER_LINE: Final = told(
    {
        "id": {"type": "string"},
        "kind": {"type": "string"},
        "generation": nullable(GENERATION),
        "at": {"type": "number"},
        "actor": {"type": "string"},
        "reason": {"type": "string"},
        "trigger": {"type": ["string", "null"]},
        "affected_orders": {"type": "integer", "minimum": 0},
        "unreadable": {"type": "string", "description": "Why there is nothing else."},
    },
    ("id",),
)
DOSSIER: Final = told(
    {
        "version": {"type": "integer"},
        "id": {"type": "string"},
        "kind": {"type": "string"},
        "router": {"type": "string"},
        "written_at": {"type": "number"},
        "rollback": {"type": "object"},
        "trigger": {"type": ["object", "null"]},
        "orders": {"type": "object"},
    },
    description="Why a rollback happened and what it touched; see `docs/rollout.md`.",
)

SCHEMAS: Final[dict[str, Schema]] = {
    "RolloutDocument": DOCUMENT,
    "RolloutChange": CHANGE,
    "RolloutState": STATE,
    "RolloutAudit": AUDIT,
    "Rollback": ROLLBACK,
    "DossierLine": DOSSIER_LINE,
    "Dossier": DOSSIER,
}

_DOCUMENT_EXAMPLE: Final[dict[str, Any]] = {
    "phase": "SHADOW",
    "basis_points": 500,
    "salt": "touchstone",
    "canary_symbols": ["AAPL", "GOOGL", "MSFT"],
    "canary_accounts": [],
    "deny_symbols": [],
    "deny_accounts": [],
    "schedule_armed": False,
}
_RECORD_EXAMPLE: Final[dict[str, Any]] = {
    "generation": 1,
    "phase": "SHADOW",
    "document": _DOCUMENT_EXAMPLE,
    "actor": "router",
    "reason": "first boot: from the configuration file, at most SHADOW",
    "updated_at": "2026-01-05T08:54:25.753272+00:00",
}
STATE_EXAMPLE: Final[dict[str, Any]] = _RECORD_EXAMPLE | {
    "basis_points": 500,
    "percentage": 0.05,
    "control": {
        "known": True,
        "status": "KNOWN",
        "age_seconds": 0.04,
        "leased": True,
        "applied_generation": 1,
        "seen_generation": 1,
        "rolled_back_here": False,
        "why": "",
    },
    "flags": {"environment_allows": True, "off_because": []},
    "l3_may_answer": False,
}
_ROLLBACK_EXAMPLE: Final[dict[str, Any]] = {
    "rolled_back": True,
    "persisted": True,
    "confirmed": True,
    "generation": 2,
    "acked": 2,
    "acks": [{"member": "router:host:5709:1c1ec3e3", "seconds": 0.0052}],
    "lapsed": [],
    "seconds": 0.0061,
}
_NOT_PERSISTED: Final = _ROLLBACK_EXAMPLE | {
    "persisted": False,
    "confirmed": False,
    "generation": None,
    "acked": None,
    "acks": [],
    "why": "Redis does not have it",
}
_DOSSIER_ID: Final = "20260105T085426331Z-g2-1c1ec3e3"
_LINE_EXAMPLE: Final = {
    "id": _DOSSIER_ID,
    "kind": "emergency",
    "generation": 2,
    "at": 1767603266.33,
    "actor": "casey",
    "reason": "slippage",
    "trigger": None,
    "affected_orders": 0,
}
_CHANGED: Final = Answer(
    "The state after the change.",
    ref("RolloutState"),
    {"shadow": STATE_EXAMPLE},
    headers={"ETag": ETAG},
)


def operations() -> tuple[Operation, ...]:
    """Return the operations on the rollout state."""
    return (
        *_state_operations(),
        _rollback_operation(),
        _rearm_operation(),
        *_past_operations(),
    )


def _state_operations() -> tuple[Operation, ...]:
    return (
        Operation(
            method="GET",
            path="/v1/rollout",
            name="show_rollout",
            tag=_TAG,
            summary="Show the state of the rollout",
            description="Phase, share, lists, how this router knows them, and whether L3 may "
            "answer now. The ETag is the generation, which every change has to name.",
            control=True,
            answers={
                200: Answer(
                    "The state.",
                    ref("RolloutState"),
                    {"shadow": STATE_EXAMPLE},
                    headers={"ETag": ETAG},
                    links={
                        "change": {
                            "operationId": "change_rollout",
                            "parameters": {"If-Match": "$response.header.ETag"},
                        },
                        "rearm": {
                            "operationId": "rearm",
                            "parameters": {"If-Match": "$response.header.ETag"},
                        },
                    },
                )
            },
        ),
        Operation(
            method="PUT",
            path="/v1/rollout",
            name="change_rollout",
            tag=_TAG,
            summary="Change the rollout under its generation",
            description="Optimistic concurrency: of two changes based on one generation exactly "
            "one is made, and the other is answered 409 STALE_GENERATION with the present "
            "generation in body and ETag. A step that the table of phases does not allow is 409 "
            "CONFLICT.",
            control=True,
            parameters=(_IF_MATCH,),
            body=Body(
                ref("RolloutChange"),
                {
                    "canary": {
                        "phase": "CANARY",
                        "percentage": 0.05,
                        "reason": "week 2",
                        "actor": "casey",
                    },
                    "deny": {"deny_symbols": ["TSLA"], "reason": "thin book"},
                },
            ),
            answers={200: _CHANGED},
            refusals=(*EVERY, *_CHANGES),
        ),
    )


_EMERGENCY: Final = closed(
    {
        "mode": {"const": "emergency", "default": "emergency"},
        "reason": _REASON,
        "actor": _ACTOR,
    },
    ("reason",),
)
_GRACEFUL: Final = closed(
    {
        "mode": {"const": "graceful"},
        "reason": _REASON,
        "actor": _ACTOR,
        "drain_seconds": {
            "type": "number",
            "minimum": 0,
            "maximum": DRAIN_SECONDS_MAX,
            "default": DRAIN_SECONDS_DEFAULT,
        },
    },
    ("mode", "reason"),
)


def _rollback_operation() -> Operation:
    return Operation(
        method="POST",
        path="/v1/rollout/rollback",
        name="rollback",
        tag=_TAG,
        summary="Send everything to L2 and latch it",
        description="Needs no generation: what tightens is never refused for being late. The "
        "answer comes when every router has acknowledged or its lease has lapsed. `graceful` "
        "lets what is under way end first, and is 409 where it is rolled back already.",
        control=True,
        body=Body(
            {"oneOf": [_EMERGENCY, _GRACEFUL]},
            {
                "emergency": {"mode": "emergency", "reason": "slippage", "actor": "casey"},
                "graceful": {"mode": "graceful", "reason": "weekend", "drain_seconds": 2},
            },
        ),
        answers={
            200: Answer("Rolled back and kept.", ref("Rollback"), {"acked": _ROLLBACK_EXAMPLE}),
            202: Answer(
                "Rolled back in this router, which goes on trying to tell Redis.",
                ref("Rollback"),
                {"not_persisted": _NOT_PERSISTED},
            ),
        },
        refusals=(*EVERY, 409, *FROM_REDIS),
    )


def _rearm_operation() -> Operation:
    return Operation(
        method="POST",
        path="/v1/rollout/rearm",
        name="rearm",
        tag=_TAG,
        summary="Leave a rollback for SHADOW or OFF",
        description="The only way out of a rollback, by a person, with a reason and the "
        "present generation (If-Match, or `expected_generation`).",
        control=True,
        parameters=(_IF_MATCH,),
        body=Body(
            closed(
                {
                    "phase": {"enum": sorted(REARM_PHASES), "default": "SHADOW"},
                    "reason": _REASON,
                    "actor": _ACTOR,
                    "expected_generation": {
                        "type": ["integer", "null"],
                        "minimum": 0,
                        "maximum": GENERATION_MAX,
                        "description": _IF_MATCH_TEXT,
                    },
                },
                ("reason",),
            ),
            {"shadow": {"phase": "SHADOW", "reason": "fixed in 1.4", "expected_generation": 2}},
        ),
        answers={200: _CHANGED},
        refusals=(*EVERY, *_CHANGES),
    )


def _past_operations() -> tuple[Operation, ...]:
    name = {"type": "string", "minLength": 1, "pattern": r"^[^/]+$"}
    return (
        Operation(
            method="GET",
            path="/v1/rollout/audit",
            name="audit",
            tag=_TAG,
            summary="List the newest changes",
            description="Newest first: every generation with who wrote it and why.",
            control=True,
            parameters=(limit(1_000, 100),),
            answers={
                200: Answer(
                    "The changes.",
                    ref("RolloutAudit"),
                    {"one": {"entries": [{"id": "1767603266251-0"} | _RECORD_EXAMPLE]}},
                )
            },
            refusals=(*EVERY, *FROM_REDIS),
        ),
        Operation(
            method="GET",
            path="/v1/rollout/dossiers",
            name="list_dossiers",
            tag=_TAG,
            summary="List the dossiers of rollbacks",
            description="One line of each, newest first.",
            control=True,
            answers={
                200: Answer(
                    "The lines.",
                    told({"dossiers": {"type": "array", "items": ref("DossierLine")}}),
                    {"one": {"dossiers": [_LINE_EXAMPLE]}},
                    links={
                        "newest": {
                            "operationId": "show_dossier",
                            "parameters": {"name": "$response.body#/dossiers/0/id"},
                        }
                    },
                )
            },
        ),
        Operation(
            method="GET",
            path="/v1/rollout/dossiers/{name}",
            name="show_dossier",
            tag=_TAG,
            summary="Show a dossier",
            description="As JSON, or as a page where its id is followed by `.html`.",
            control=True,
            parameters=(in_path("name", name, "A dossier's id.", _DOSSIER_ID),),
            answers={
                200: Answer(
                    "The dossier.",
                    ref("Dossier"),
                    more_media={"text/html": {"type": "string"}},
                )
            },
            refusals=(*EVERY, 404),
        ),
    )
