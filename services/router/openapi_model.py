"""What an operation of the router's API is made of, and how it becomes OpenAPI 3.1."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from touchstone.kit.control_store import TEXT_CHARACTERS_MAX

Schema = dict[str, Any]

GENERATION_MAX: Final = 10**16 - 1
NOT_BLANK: Final = r"[^\s\x1c-\x1f\x85]"
"""One character that is no blank in any reader's eyes; they differ about some."""
WORDS: Final[Schema] = {
    "type": "string",
    "minLength": 1,
    "maxLength": TEXT_CHARACTERS_MAX,
    "pattern": NOT_BLANK,
}
JSON: Final = "application/json"
_REASONS: Final[Mapping[int, tuple[str, str]]] = {
    400: ("INVALID_ARGUMENT", "limit: '0': Input should be greater than or equal to 1"),
    401: ("UNAUTHENTICATED", "Authorization: missing; allowed: Bearer and the token"),
    403: (
        "PERMISSION_DENIED",
        "Origin: 'http://elsewhere.example'; allowed: this host, or no Origin",
    ),
    404: ("NOT_FOUND", "dossier: 'x'; allowed: an id of GET /v1/rollout/dossiers"),
    409: ("CONFLICT", "phase: SHADOW -> FULL; allowed from here: OFF, SHADOW, CANARY, ROLLED_BACK"),
    413: ("PAYLOAD_TOO_LARGE", "body: more than 4194304 bytes; allowed: at most that"),
    415: ("UNSUPPORTED_MEDIA_TYPE", "Content-Type: 'text/plain'; allowed: application/json"),
    428: (
        "PRECONDITION_REQUIRED",
        "If-Match: missing; allowed: the generation that GET /v1/rollout gives as ETag",
    ),
    429: ("OVERLOADED", "queue: full; try again later"),
    500: ("INTERNAL", "a defect; see the service's log"),
    503: ("UNAVAILABLE", "control state rollout: Redis does not answer"),
    504: ("DEADLINE_EXCEEDED", "control state rollout: no answer from Redis in time"),
}
_WHY: Final[Mapping[int, str]] = {
    400: "Something in the request is wrong, or asks for what this version does not do "
    "(`UNIMPLEMENTED`); the message names it and what is allowed.",
    401: "A token is set and the request does not carry it.",
    403: "The request comes from a page of another site, or names a host that is not ours.",
    404: "There is nothing of that name.",
    409: "The present state does not allow it, or has another generation than the one given.",
    413: "The body has more bytes than are read.",
    415: "The body is not said to be JSON.",
    428: "The change does not say which generation it is based on.",
    429: "Too much is under way; the same request may succeed later.",
    500: "A defect of the service.",
    503: "Redis cannot be reached; the same request may succeed later.",
    504: "Redis did not answer in time; whether it was done is not known.",
}

EVERY: Final = (400, 403, 429, 500)
"""What any operation under /v1 may be refused with."""
WITH_BODY: Final = (413, 415)
CONTROL: Final = (401,)
FROM_REDIS: Final = (503, 504)


@dataclass(frozen=True, slots=True)
class Answer:
    """One way an operation may end well.

    `examples` are whole bodies by their names; `headers` are schemas by their names.
    """

    description: str
    schema: Schema | None
    examples: Mapping[str, Any] = field(default_factory=dict)
    media_type: str = JSON
    headers: Mapping[str, Schema] = field(default_factory=dict)
    links: Mapping[str, Any] = field(default_factory=dict)
    more_media: Mapping[str, Schema] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Body:
    """What an operation reads. Each example is whole: it can be sent as it stands."""

    schema: Schema
    examples: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path.

    `refusals` are the statuses that it may be refused with; `control` says that it needs the
    token, where there is one.
    """

    method: str
    path: str
    name: str
    tag: str
    summary: str
    description: str
    answers: Mapping[int, Answer]
    refusals: tuple[int, ...] = EVERY
    parameters: tuple[Schema, ...] = ()
    body: Body | None = None
    control: bool = False

    @property
    def query_names(self) -> frozenset[str]:
        """Return the names of the query parameters."""
        return frozenset(p["name"] for p in self.parameters if p["in"] == "query")

    def to_openapi(self, *, token_set: bool = True) -> Schema:
        """Return the operation object of a router that has a token, or has none."""
        refusals = {*self.refusals, *(WITH_BODY if self.body else ())}
        refusals |= set(CONTROL) if self.control and token_set else set()
        responses = {str(status): _answer(answer) for status, answer in self.answers.items()}
        responses |= {str(status): refusal(status) for status in sorted(refusals)}
        found: Schema = {
            "operationId": self.name,
            "tags": [self.tag],
            "summary": self.summary,
            "description": self.description,
            "responses": responses,
        }
        if self.parameters:
            found["parameters"] = list(self.parameters)
        if self.body is not None:
            found["requestBody"] = {
                "required": True,
                "content": {
                    JSON: {"schema": self.body.schema, "examples": _examples(self.body.examples)}
                },
            }
        # Without one nobody looks at what is sent.
        if self.control and token_set:
            found["security"] = [{"token": []}]
        return found


def ref(name: str) -> Schema:
    """Return a reference to a schema of the components."""
    return {"$ref": f"#/components/schemas/{name}"}


def nullable(schema: Schema) -> Schema:
    """Return the schema or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def closed(properties: Mapping[str, Schema], required: tuple[str, ...], **more: Any) -> Schema:
    """Return an object that has no other keys: what is read."""
    return told(properties, required, **more) | {"additionalProperties": False}


def told(properties: Mapping[str, Schema], required: tuple[str, ...] = (), **more: Any) -> Schema:
    """Return an object that may have further keys: what is answered; later versions add some."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(required or properties),
        **more,
    }


def query(name: str, schema: Schema, description: str, example: Any) -> Schema:
    """Return an optional query parameter."""
    return {
        "name": name,
        "in": "query",
        "required": False,
        "schema": schema,
        "description": description,
        "example": example,
    }


def in_path(name: str, schema: Schema, description: str, example: Any) -> Schema:
    """Return a path parameter."""
    return {
        "name": name,
        "in": "path",
        "required": True,
        "schema": schema,
        "description": description,
        "example": example,
    }


def limit(highest: int, usual: int) -> Schema:
    """Return the parameter that bounds how much is returned."""
    schema = {"type": "integer", "minimum": 1, "maximum": highest, "default": usual}
    return query("limit", schema, "How many at most.", min(20, usual))


def refusal(status: int) -> Schema:
    """Return the response object of a refusal."""
    code, message = _REASONS[status]
    error = {"code": code, "message": message, "retryable": status in {429, 503, 504}}
    examples: dict[str, Any] = {code.lower(): {"error": error}}
    found: Schema = {
        "description": _WHY[status],
        "content": {JSON: {"schema": ref("Error")}},
    }
    if status == HTTPStatus.CONFLICT:
        stale = {
            "code": "STALE_GENERATION",
            "message": "If-Match: generation 7; the present generation is 9",
            "retryable": False,
            "generation": 9,
        }
        examples["stale_generation"] = {"error": stale}
        found["headers"] = {"ETag": {"schema": ETAG, "description": "With STALE_GENERATION."}}
    if status == HTTPStatus.UNAUTHORIZED:
        found["headers"] = {
            "WWW-Authenticate": {"schema": {"type": "string"}, "description": "Says Bearer."}
        }
    found["content"][JSON]["examples"] = _examples(examples)
    return found


ETAG: Final[Schema] = {"type": "string", "pattern": '^"[0-9]{1,16}"$'}

ERROR: Final[Schema] = told(
    {
        "error": told(
            {
                "code": {"type": "string", "description": "Stable, for programs."},
                "message": {
                    "type": "string",
                    "description": "One line: the field, its value, and what is allowed.",
                },
                "retryable": {
                    "type": "boolean",
                    "description": "Whether the same request may succeed later.",
                },
                "generation": {
                    "type": "integer",
                    "minimum": 0,
                    "description": "The present generation; with STALE_GENERATION only.",
                },
            },
            ("code", "message", "retryable"),
        )
    }
)


def _answer(answer: Answer) -> Schema:
    found: Schema = {"description": answer.description}
    if answer.schema is not None:
        media: Schema = {"schema": answer.schema}
        if answer.examples:
            media["examples"] = _examples(answer.examples)
        found["content"] = {answer.media_type: media}
        for kind, schema in answer.more_media.items():
            found["content"][kind] = {"schema": schema}
    if answer.headers:
        found["headers"] = {name: {"schema": schema} for name, schema in answer.headers.items()}
    if answer.links:
        found["links"] = dict(answer.links)
    return found


def _examples(examples: Mapping[str, Any]) -> Schema:
    return {name: {"value": value} for name, value in examples.items()}


def refusals_markdown() -> str:
    """Return the table of refusals for the documentation."""
    lines = ["| Status | `code` | When |", "|---|---|---|"]
    lines += [f"| {status} | `{code}` | {_WHY[status]} |" for status, (code, _) in _REASONS.items()]
    return "\n".join(lines)
