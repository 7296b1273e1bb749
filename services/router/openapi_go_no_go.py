"""The operations of the go/no-go matrix: its verdicts, waivers, and rows that others measure."""

from typing import Any, Final

from services.router.go_no_go import MEASURED, REPORTED_VALUES_MAX, WAIVER_HOURS_MAX
from services.router.openapi_model import (
    EVERY,
    FROM_REDIS,
    WORDS,
    Answer,
    Body,
    Operation,
    Schema,
    closed,
    in_path,
    limit,
    ref,
    told,
)
from touchstone.rollout.go_no_go import ROWS, Colour, Decision

_TAG: Final = "go-no-go"
_ROW_NAMES: Final = [row.name for row in ROWS]
_REPORTED_NAMES: Final = [name for name in _ROW_NAMES if name not in MEASURED]
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0, "exclusiveMaximum": 2**53}
_NUMBER: Final[Schema] = {"type": "number", "exclusiveMinimum": -(2**53), "exclusiveMaximum": 2**53}

WAIVER: Final = told(
    {
        "row": {"enum": _ROW_NAMES},
        "by": {"type": "string"},
        "reason": {"type": "string"},
        "expires_at": {"type": "number", "description": "Seconds since 1970."},
    }
)
VERDICT: Final = told(
    {
        "decision": {"enum": list(Decision)},
        "at": {"type": "number"},
        "reasons": {"type": "array", "items": {"type": "string"}},
        "rows": {
            "type": "array",
            "items": told(
                {
                    "name": {"type": "string"},
                    "colour": {"enum": list(Colour)},
                    "reason": {"type": "string"},
                    "interval": {"type": ["object", "null"]},
                    "measurement": {"type": ["object", "null"]},
                },
            ),
        },
        "waivers": {"type": "array", "items": ref("Waiver")},
        "clear_since": {"type": ["number", "null"]},
        "dwell_seconds": {"type": "number"},
    },
    description="Each row with what it was decided from; see `docs/go-no-go.md`.",
)
SCHEMAS: Final[dict[str, Schema]] = {"Waiver": WAIVER, "GoNoGoVerdict": VERDICT}

_WAIVER_EXAMPLE: Final = {
    "row": "slippage",
    "by": "casey",
    "reason": "thin holiday market",
    "expires_at": 1767689665.0,
}
_VERDICT_EXAMPLE: Final[dict[str, Any]] = {
    "decision": Decision.HOLD.value,
    "at": 1767603265.94,
    "reasons": ["slippage: no measurement"],
    "rows": [
        {
            "name": "slippage",
            "colour": Colour.UNKNOWN.value,
            "reason": "no measurement",
            "interval": None,
            "measurement": None,
        }
    ],
    "waivers": [_WAIVER_EXAMPLE],
    "clear_since": None,
    "dwell_seconds": 3600.0,
}


def operations() -> tuple[Operation, ...]:
    """Return the operations of the matrix."""
    return (*_verdict_operations(), *_waiver_operations(), _report_operation())


def _row(description: str, example: str, names: list[str] = _ROW_NAMES) -> Schema:
    return in_path("row", {"enum": names}, description, example)


def _verdict_operations() -> tuple[Operation, ...]:
    return (
        Operation(
            method="GET",
            path="/v1/go-no-go",
            name="go_no_go",
            tag=_TAG,
            summary="Say GO, HOLD or NO-GO as of now",
            description="With every row and what it was decided from. Without Redis it is made "
            "from this router's own counts, and is never GO.",
            control=True,
            answers={200: Answer("The verdict.", ref("GoNoGoVerdict"), {"hold": _VERDICT_EXAMPLE})},
        ),
        Operation(
            method="GET",
            path="/v1/go-no-go/verdicts",
            name="list_verdicts",
            tag=_TAG,
            summary="List the stored verdicts",
            description="With their inputs, newest first.",
            control=True,
            parameters=(limit(1_000, 100),),
            answers={
                200: Answer(
                    "The verdicts.",
                    told({"verdicts": {"type": "array", "items": ref("GoNoGoVerdict")}}),
                    {"one": {"verdicts": [{"id": "1767603266251-0"} | _VERDICT_EXAMPLE]}},
                )
            },
            refusals=(*EVERY, *FROM_REDIS),
        ),
    )


def _waiver_operations() -> tuple[Operation, ...]:
    return (
        Operation(
            method="PUT",
            path="/v1/go-no-go/waivers/{row}",
            name="waive",
            tag=_TAG,
            summary="Accept a yellow row for some hours",
            description="By name and with a reason; red and unknown rows cannot be waived.",
            control=True,
            parameters=(_row("The row that is accepted.", "slippage"),),
            body=Body(
                closed(
                    {
                        "by": WORDS,
                        "reason": WORDS,
                        "hours": {
                            "type": "number",
                            "exclusiveMinimum": 0,
                            "maximum": WAIVER_HOURS_MAX,
                        },
                    },
                    ("by", "reason", "hours"),
                ),
                {"a_day": {"by": "casey", "reason": "thin holiday market", "hours": 24}},
            ),
            answers={
                200: Answer(
                    "The waiver, and until when it holds.",
                    told({"waiver": ref("Waiver")}),
                    {"a_day": {"waiver": _WAIVER_EXAMPLE}},
                )
            },
            refusals=(*EVERY, *FROM_REDIS),
        ),
        Operation(
            method="DELETE",
            path="/v1/go-no-go/waivers/{row}",
            name="withdraw_waiver",
            tag=_TAG,
            summary="Take a waiver back",
            description="404 where there is none.",
            control=True,
            parameters=(_row("The row that was accepted.", "slippage"),),
            answers={
                200: Answer(
                    "Taken back.",
                    told({"withdrawn": {"enum": _ROW_NAMES}}),
                    {"slippage": {"withdrawn": "slippage"}},
                )
            },
            refusals=(*EVERY, 404, *FROM_REDIS),
        ),
    )


def _report_operation() -> Operation:
    measurement = closed(
        {
            "by": WORDS,
            "measured_at": _NUMBER | {"description": "Seconds since 1970."},
            "n": _COUNT,
            "part": _COUNT,
            "total": _NUMBER,
            "squares": _NUMBER,
            "values": {"type": "array", "maxItems": REPORTED_VALUES_MAX, "items": _NUMBER},
        },
        ("by", "measured_at", "n"),
    )
    example = {"by": "order-gateway", "measured_at": 1767603265, "n": 200, "part": 3}
    return Operation(
        method="PUT",
        path="/v1/go-no-go/measurements/{row}",
        name="report_measurement",
        tag=_TAG,
        summary="Report a row that the routers cannot measure",
        description="It grows stale as the routers' own do. What the routers measure is refused.",
        control=True,
        parameters=(_row("The row that was measured.", "post_only_rejects", _REPORTED_NAMES),),
        body=Body(measurement, {"rejects": example}),
        answers={
            200: Answer(
                "Taken.",
                told({"reported": {"enum": _REPORTED_NAMES}}),
                {"rejects": {"reported": "post_only_rejects"}},
            )
        },
        refusals=(*EVERY, *FROM_REDIS),
    )
