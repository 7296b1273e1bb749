"""Hold an answer of the router to what its OpenAPI document promises."""

from typing import Any

import httpx
import jsonschema_rs


def validator(document: dict[str, Any], schema: dict[str, Any]) -> Any:
    """Return a validator of one schema of the document."""
    return jsonschema_rs.Draft202012Validator(schema | {"components": document["components"]})


def check(
    document: dict[str, Any], path: str, response: httpx.Response, expected: int
) -> httpx.Response:
    """Return an answer that has the status expected, a documented one, and the promised shape."""
    assert response.status_code == expected, response.text
    operation = document["paths"][path][response.request.method.lower()]
    assert str(expected) in operation["responses"], (path, response.text)
    promised = operation["responses"][str(expected)]
    kinds = {kind.partition(";")[0]: media for kind, media in promised["content"].items()}
    kind = response.headers["content-type"].partition(";")[0]
    assert kind in kinds
    if kind == "application/json":
        validator(document, kinds[kind]["schema"]).validate(response.json())
    for name, header in promised.get("headers", {}).items():
        if expected < 400 or name == "WWW-Authenticate":
            validator(document, header["schema"]).validate(response.headers[name])
    return response
