"""Every key of the L3 simulator's configuration, as `touchstone config keys` lists them.

The list is read off the configuration's own schema: what a key may be, and what it is where a file
does not say.
"""

import json
import types
from collections.abc import Iterator
from enum import StrEnum
from typing import Any, NamedTuple, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from lob.config import L3ExecutionConfig
from lob.latency import PROFILES_US

_NAMES = {bool: "true, false", int: "a whole number", float: "a number", str: "a text"}


class ConfigKey(NamedTuple):
    """One key, by its path in the file; `[]` is each entry of a list."""

    key: str
    allowed: str
    default: str


def l3_keys(model: type[BaseModel] = L3ExecutionConfig, path: str = "") -> Iterator[ConfigKey]:
    """Yield the keys of the configuration in their order, sections before what is in them."""
    for name, field in model.model_fields.items():
        key = f"{path}{name}"
        below, mark = _section(field.annotation)
        if below is None or mark:
            yield ConfigKey(key, _allowed(key, field), _default(field, listed=bool(mark)))
        if below is not None:
            yield from l3_keys(below, f"{key}{mark}.")


def _section(annotation: Any) -> tuple[type[BaseModel] | None, str]:
    """Return the section that a key holds, and "[]" where it is a list of such."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, ""
    parts = [part for part in get_args(annotation) if part is not Ellipsis]
    if get_origin(annotation) is tuple and isinstance(parts[0], type):
        return (parts[0], "[]") if issubclass(parts[0], BaseModel) else (None, "")
    return None, ""


def _allowed(key: str, field: FieldInfo) -> str:
    if key == "latency.profile":
        return ", ".join(PROFILES_US)
    return _kind(field.annotation) + _bounds(field.metadata)


def _kind(annotation: Any) -> str:
    if get_origin(annotation) in (Union, types.UnionType):
        kinds = [_kind(part) for part in get_args(annotation) if part is not type(None)]
        return " or ".join([*kinds, "null"])
    if get_origin(annotation) is tuple:
        part = get_args(annotation)[0]
        return "a list" if issubclass(part, BaseModel) else "a list of numbers"
    if get_origin(annotation) is dict:
        of = get_args(annotation)[0]
        return f"a mapping of {_kind(of)}" if issubclass(of, StrEnum) else "a mapping"
    if issubclass(annotation, StrEnum):
        return ", ".join(annotation)
    return _NAMES[annotation]


def _bounds(metadata: list[Any]) -> str:
    said = []
    for bound in metadata:
        match bound:
            case Gt():
                said.append(f"above {bound.gt:g}")
            case Ge():
                said.append(f"from {bound.ge:g}")
            case Lt():
                said.append(f"below {bound.lt:g}")
            case Le():
                said.append(f"to {bound.le:g}")
            case MinLen():
                said.append(f"{bound.min_length} or more")
            case MaxLen():
                said.append(f"at most {bound.max_length}")
    return f", {' '.join(said)}" if said else ""


def _default(field: FieldInfo, *, listed: bool) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if listed:
        return f"{len(value)} entries"
    if isinstance(value, tuple) and len(set(value)) == 1:
        return f"{len(value)} times {value[0]:g}"
    return value if isinstance(value, str) else json.dumps(value)
