"""The operations that show evidence (shadow pairs, the judge) and the service's own condition."""

from typing import Any, Final

from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import TypeAdapter

from services.router.openapi_executions import FILL_EXAMPLE, GENERATION
from services.router.openapi_model import (
    Answer,
    Operation,
    Schema,
    limit,
    nullable,
    query,
    ref,
    told,
)
from touchstone.rollout.judge import JudgeConfig, Outcome, Verdict
from touchstone.rollout.shadow import REFERENCES, Agreement, Comparison

_SHADOW: Final = "shadow"
_SERVICE: Final = "service"
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
_FIGURE: Final[Schema] = {"type": ["number", "null"]}

PAIR: Final = told(
    {
        "decision_id": {"type": "string"},
        "generation": GENERATION,
        "at": {"type": "number", "description": "Seconds since 1970."},
        "symbol": {"type": "string"},
        "side": {"enum": ["BUY", "SELL"]},
        "quantity": {"type": "string"},
        "inputs_digest": {"type": "string"},
        "seed": {"type": "integer"},
        "difference_bps": _FIGURE,
        "error": {"type": ["string", "null"]},
        "control": ref("Fill"),
        "candidate": nullable(ref("Fill")),
        "touch_multiple": _FIGURE,
        "spread_bps": _FIGURE,
        "control_seconds": {"type": "number"},
        "candidate_seconds": {"type": "number"},
    },
    description="One order executed twice on the same inputs.",
)
_GROUPS: Final[Schema] = {"type": "object", "additionalProperties": ref("Comparison")}
SUMMARY: Final = told(
    {
        "queue_depth": _COUNT,
        "mirrored": _COUNT,
        "dropped": _COUNT,
        "overall": ref("Comparison"),
        "by_symbol": _GROUPS,
        "by_side": _GROUPS,
        "by_size": _GROUPS,
        "by_spread": _GROUPS,
        "noise_floor": nullable(ref("Agreement")),
        "worst": {"type": "array", "items": ref("ShadowPair")},
    }
)
ANALYSIS: Final = told(
    {
        "started_at": {"type": "number"},
        "config": ref("JudgeConfig"),
        "verdict": ref("Verdict"),
        "curve": {"type": "array", "items": {"type": "object"}},
        "triggers": {"type": "object"},
    }
)
READINESS: Final = told(
    {
        "status": {"enum": ["ready", "degraded", "not ready"]},
        "checks": {
            "type": "object",
            "additionalProperties": told(
                {
                    "ok": {"type": "boolean"},
                    "required": {"type": "boolean"},
                    "detail": {"type": "string"},
                }
            ),
        },
    }
)


def schemas() -> dict[str, Schema]:
    """Return the schemas; those of the figures are made from the classes that hold them."""
    return {
        "Comparison": _of(Comparison),
        "Agreement": _of(Agreement),
        "Verdict": _of(Verdict),
        "JudgeConfig": _of(JudgeConfig),
        "ShadowPair": PAIR,
        "ShadowSummary": SUMMARY,
        "Analysis": ANALYSIS,
        "Readiness": READINESS,
    }


_COMPARISON_EXAMPLE: Final[dict[str, Any]] = {
    "pairs": 2,
    "n": 2,
    "mean_difference_bps": 1.5,
    "limits_of_agreement_bps": [1.5, 1.5],
    "reference": "control",
    "rmse_bps": 1.5,
    "control_fill_rate": 1.0,
    "candidate_fill_rate": 1.0,
    "fill_rate_difference": 0.0,
    "candidate_error_rate": 0.0,
    "latency_overhead_seconds": 0.00021,
}
_PAIR_EXAMPLE: Final[dict[str, Any]] = {
    "decision_id": "27314edbabf447a191d6ff4e39b53814",
    "generation": 1,
    "at": 1767603265.94,
    "symbol": "AAPL",
    "side": "BUY",
    "quantity": "10",
    "inputs_digest": "9b480dff19762006d2bdb20334a8873a",
    "seed": 0,
    "difference_bps": 1.5,
    "error": None,
    "control": FILL_EXAMPLE,
    "candidate": FILL_EXAMPLE | {"average_price": "100.025", "slippage_bps": "2.5"},
    "touch_multiple": 0.1,
    "spread_bps": 2.0,
    "control_seconds": 0.00006,
    "candidate_seconds": 0.00027,
}


def operations() -> tuple[Operation, ...]:
    """Return the operations that only show something."""
    return (*_shadow_operations(), *_service_operations())


def _shadow_operations() -> tuple[Operation, ...]:
    by = {"AAPL": _COMPARISON_EXAMPLE}
    summary = {
        "queue_depth": 0,
        "mirrored": 2,
        "dropped": 0,
        "overall": _COMPARISON_EXAMPLE,
        "by_symbol": by,
        "by_side": {"BUY": _COMPARISON_EXAMPLE},
        "by_size": {"up to 1x touch": _COMPARISON_EXAMPLE},
        "by_spread": {"1 to 5 bps": _COMPARISON_EXAMPLE},
        "noise_floor": None,
        "worst": [_PAIR_EXAMPLE],
    }
    reference = {"enum": list(REFERENCES), "default": "control"}
    return (
        Operation(
            method="GET",
            path="/v1/shadow/summary",
            name="shadow_summary",
            tag=_SHADOW,
            summary="Summarise the comparison of L3 with L2",
            description="Bias, limits of agreement, RMSE, fill and error rates, by symbol, side, "
            "size and spread, with the worst pairs.",
            control=True,
            parameters=(query("reference", reference, "What the RMSE is against.", "mid"),),
            answers={200: Answer("The summary.", ref("ShadowSummary"), {"two_pairs": summary})},
        ),
        Operation(
            method="GET",
            path="/v1/shadow/pairs",
            name="shadow_pairs",
            tag=_SHADOW,
            summary="List the newest shadow pairs",
            description="Newest first, each with both fills whole.",
            control=True,
            parameters=(limit(1_000, 100),),
            answers={
                200: Answer(
                    "The pairs.",
                    told({"pairs": {"type": "array", "items": ref("ShadowPair")}}),
                    {"one": {"pairs": [_PAIR_EXAMPLE]}},
                )
            },
        ),
        Operation(
            method="GET",
            path="/v1/rollout/analysis",
            name="analysis",
            tag="rollout",
            summary="Show the judge's verdict and what the triggers see",
            description=f"The verdict is one of {', '.join(Outcome)}, with its evidence as it "
            "grew.",
            control=True,
            answers={200: Answer("The verdict with its evidence.", ref("Analysis"))},
        ),
    )


def _service_operations() -> tuple[Operation, ...]:
    healthy = {"status": "ok", "service": "router", "version": "0.1.0"}
    check = {"ok": True, "required": False, "detail": "phase SHADOW, generation 1"}
    ready = {"status": "ready", "checks": {"rollout": check}}
    return (
        Operation(
            method="GET",
            path="/healthz",
            name="healthz",
            tag=_SERVICE,
            summary="Say that the process answers",
            description="Checks nothing else.",
            answers={
                200: Answer(
                    "It answers.",
                    told({name: {"type": "string"} for name in healthy}),
                    {"ok": healthy},
                )
            },
            refusals=(400,),
        ),
        Operation(
            method="GET",
            path="/readyz",
            name="readyz",
            tag=_SERVICE,
            summary="Say whether the service may be sent requests",
            description="Without Redis or simulator it is `degraded` and serves from L2.",
            answers={
                200: Answer("Ready, or degraded.", ref("Readiness"), {"ready": ready}),
                503: Answer("A required check fails.", ref("Readiness")),
            },
            refusals=(400,),
        ),
        Operation(
            method="GET",
            path="/metrics",
            name="metrics",
            tag=_SERVICE,
            summary="Return the metrics for Prometheus",
            description="The text format of Prometheus.",
            answers={
                200: Answer("The metrics.", {"type": "string"}, media_type=CONTENT_TYPE_LATEST)
            },
            refusals=(400, 403),
        ),
    )


def _of(cls: type[Any]) -> Schema:
    """Return the schema of a dataclass as it is answered: each field is there."""
    found: Schema = TypeAdapter(cls).json_schema(
        mode="serialization", ref_template="#/components/schemas/{model}"
    )
    found.pop("additionalProperties", None)
    definitions = found.pop("$defs", {})
    text_of = {f"#/components/schemas/{name}": schema for name, schema in definitions.items()}
    for name, schema in found["properties"].items():
        if schema.get("$ref") in text_of:
            found["properties"][name] = text_of[schema["$ref"]]
    found["required"] = list(found["properties"])
    return found
