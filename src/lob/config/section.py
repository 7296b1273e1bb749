"""What every section of the configuration has in common: nothing unknown, every change checked."""

from collections.abc import Iterator
from itertools import count
from typing import Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from lob.errors import ConfigError

_ALLOWED_MARK: Final = "!"
"""Starts the message of a validator that has written the whole sentence."""


def one_line(error: ValidationError, prefix: str = "") -> str:
    """Return the first mistake as `key: value; what is allowed`."""
    first = error.errors(include_url=False)[0]
    key = ".".join([*([prefix] if prefix else []), *(str(part) for part in first["loc"])])
    message = str(first["msg"]).removeprefix("Value error, ")
    if first["type"] in ("extra_forbidden", "no_such_attribute"):
        return f"{key}: unknown key"
    if message.startswith(_ALLOWED_MARK):
        return f"{key}{': ' if first['loc'] else '.'}{message[1:]}"
    return f"{key or 'config'}: {first['input']!r}; {message[0].lower()}{message[1:]}"


class _Changes:
    """Count the assignments to any section, so that what was made of one can be made anew."""

    def __init__(self) -> None:
        self._counter: Iterator[int] = count(1)
        self.latest = 0

    def note(self) -> None:
        """Take note of one more."""
        self.latest = next(self._counter)


CHANGES: Final = _Changes()
"""`CHANGES.latest` is another number after any assignment to any section of any configuration."""


class Section(BaseModel):
    """Refuse unknown keys, check every assignment, and raise `ConfigError` for either.

    `path` is where the section stands in the document; a refusal starts with it.
    """

    model_config = ConfigDict(extra="forbid", validate_assignment=True, allow_inf_nan=False)
    path: ClassVar[str] = ""

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ConfigError(one_line(error, type(self).path)) from error

    def __setattr__(self, name: str, value: Any) -> None:
        before = dict(self.__dict__)
        try:
            super().__setattr__(name, value)
        except ValidationError as error:
            # A check of the whole section runs after the value is in: a refusal takes it out again.
            self.__dict__.update(before)
            raise ConfigError(one_line(error, type(self).path)) from error
        CHANGES.note()
