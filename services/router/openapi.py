"""The router's API as one OpenAPI 3.1 document, declared here and nowhere else.

Requests are read by hand on the way that has to be fast, so the framework cannot know them. Tests
hold the document to the handlers: every route is in it, every example is accepted, every answer has
the shape that is promised, and no status occurs that is not.
"""

import functools
from collections.abc import Iterable
from typing import Any, Final

import touchstone
from services.router import (
    openapi_decisions,
    openapi_evidence,
    openapi_executions,
    openapi_go_no_go,
    openapi_model,
    openapi_rollout,
)
from services.router.openapi_model import Operation

OPEN_TO_ALL: Final = ("/v1/executions", "/v1/executions/batch")
"""Under /v1, what needs no token; assignments besides. The rest steers, or tells about orders."""
_ASSIGNMENTS: Final = "/v1/assignments/"

_DESCRIPTION: Final = """\
The router answers every execution request, from L2 or from L3, as the rollout says.

* Errors are `{"error": {"code", "message", "retryable"}}`; the message is one line that names the
  field, the value and what is allowed. A method that a path does not have is 405 with `Allow`, a
  path that is none 404.
* A query parameter or a key that nothing reads is refused (400), as is one given twice.
* A router that listens beyond loopback needs `Authorization: Bearer <token>` for everything but
  executions, assignments, health and metrics.
* Changes of the rollout name the generation that they are based on (`If-Match`); on another one the
  answer is 409 `STALE_GENERATION` with the present generation in body and ETag.
"""
_TAGS: Final = (
    ("executions", "Execute orders, and say who would answer."),
    ("rollout", "The state of the rollout, under optimistic concurrency."),
    ("go-no-go", "The matrix that a promotion has to pass."),
    ("shadow", "The comparison of L3 with L2."),
    ("decisions", "What was decided, and everything it depended on."),
    ("service", "Health and metrics."),
)


def needs_token(_method: str, path: str) -> bool:
    """Return whether a request steers the rollout or tells about orders.

    Unknown paths under /v1 do: a new operation is closed until it is listed as open.
    """
    if path in OPEN_TO_ALL or path.startswith(_ASSIGNMENTS):
        return False
    return path.startswith("/v1/")


@functools.cache
def operations(batch_size_max: int) -> tuple[Operation, ...]:
    """Return every operation of a router that takes batches of at most so many."""
    return (
        *openapi_executions.operations(batch_size_max),
        *openapi_rollout.operations(),
        *openapi_go_no_go.operations(),
        *openapi_decisions.operations(),
        *openapi_evidence.operations(),
    )


@functools.cache
def document(batch_size_max: int, *, token_set: bool = True) -> dict[str, Any]:
    """Return the OpenAPI document of a router that has a token, or has none."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "touchstone router",
            "version": touchstone.__version__,
            "description": _DESCRIPTION,
        },
        "tags": [{"name": name, "description": text} for name, text in _TAGS],
        "paths": _paths(operations(batch_size_max), token_set),
        "components": {
            "schemas": {
                "Error": openapi_model.ERROR,
                **openapi_executions.SCHEMAS,
                **openapi_rollout.SCHEMAS,
                **openapi_go_no_go.SCHEMAS,
                **openapi_decisions.SCHEMAS,
                **openapi_evidence.schemas(),
            },
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "`TOUCHSTONE_ROUTER_API_TOKEN` of the router, where it is set.",
                }
            },
        },
    }


def _paths(known: Iterable[Operation], token_set: bool) -> dict[str, Any]:
    paths: dict[str, Any] = {}
    for operation in known:
        described = operation.to_openapi(token_set=token_set)
        paths.setdefault(operation.path, {})[operation.method.lower()] = described
    return paths
