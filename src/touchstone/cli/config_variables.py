"""Every variable of the environment that the services read, from the schemas of their settings."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pydantic_settings import BaseSettings

SHARED = "every service"
_TYPES = {
    "integer": "a whole number",
    "number": "a number",
    "string": "a text",
    "array": "a JSON list",
    "object": "a JSON object",
}
_BOUNDS = {
    "exclusiveMinimum": "above {}",
    "minimum": "from {}",
    "exclusiveMaximum": "below {}",
    "maximum": "to {}",
    "minLength": "of {} or more characters",
    "pattern": "like {}",
}


class Variable(NamedTuple):
    """One variable: what it may be, and what holds where it is not set."""

    name: str
    allowed: str
    default: str


def variables(services: Mapping[str, type[BaseSettings]]) -> dict[str, list[Variable]]:
    """Return each service's variables; those of more than one are those of every service."""
    found = {service: list(_variables(cls)) for service, cls in services.items()}
    names = [variable.name for listed in found.values() for variable in listed]
    shared = {name for name in names if names.count(name) > 1}
    of_all = {v.name: v for listed in found.values() for v in listed if v.name in shared}
    own = {name: [v for v in listed if v.name not in shared] for name, listed in found.items()}
    return {SHARED: list(of_all.values()), **own}


def markdown(services: Mapping[str, type[BaseSettings]]) -> str:
    """Return the tables as Markdown, a section for each service."""
    parts = []
    for service, listed in variables(services).items():
        rows = [
            f"| `{v.name}` | {v.allowed.replace('|', chr(92) + '|')} | {v.default} |"
            for v in listed
        ]
        parts.append("\n".join((f"## {service}", "", _HEAD, *rows)))
    return "\n\n".join(parts) + "\n"


_HEAD = "| Variable | Allowed | Default |\n|---|---|---|"


def _variables(cls: type[BaseSettings]) -> Iterator[Variable]:
    schema = cls.model_json_schema(by_alias=False)
    prefix = str(cls.model_config.get("env_prefix") or "")
    for name, field in cls.model_fields.items():
        alias = field.validation_alias
        variable = alias if isinstance(alias, str) else f"{prefix}{name}".upper()
        told = schema["properties"][name]
        default = "required" if field.is_required() else _shown(told.get("default"))
        yield Variable(variable, _allowed(told, schema.get("$defs", {})), default)


def _allowed(told: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    if "$ref" in told:
        return _allowed(known[told["$ref"].rsplit("/", 1)[1]], known)
    if "anyOf" in told:
        # A decimal may come as a text; what the text may be is the number's matter.
        kinds = [one for one in told["anyOf"] if one.get("type") != "null"]
        numbers = [one for one in kinds if one.get("type") == "number"]
        return " or ".join(_allowed(one, known) for one in numbers or kinds)
    if "enum" in told:
        return ", ".join(f"`{value}`" for value in told["enum"])
    if told.get("type") == "boolean":
        return "`true`, `false`"
    if told.get("format") in ("path", "file-path"):
        return "a path"
    bounds = [text.format(_bound(told[key])) for key, text in _BOUNDS.items() if key in told]
    return " ".join([_TYPES[told.get("type", "string")], *bounds])


def _bound(value: Any) -> str:
    return f"`{value}`" if isinstance(value, str) else f"{value:g}"


def _shown(value: Any) -> str:
    if value is None or value == "":
        return "none"
    if isinstance(value, str):
        # A Decimal is written as the text that it is.
        return f"`{value}`" if not re.fullmatch(r"-?[\d.]+", value) else value
    return f"`{json.dumps(value)}`" if isinstance(value, list | dict) else json.dumps(value)
