"""Logs: one JSON object a line, or lines for people; what looks like a secret is hidden."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from lob.errors import ConfigError
from touchstone.kit.logs import configure_logging
from touchstone.kit.settings import HIDDEN
from touchstone.kit.trace import Carried, continued

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PEM = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\n-----END EC PRIVATE KEY-----"
JWT = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJrIn0.c2lnbmF0dXJl"


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[None]:
    """Leave the loggers of the process as they were."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_a_line_is_one_object_with_its_ids(capsys: pytest.CaptureFixture[str]) -> None:
    """Our loggers and the library's say the same way who, when, and within which trace."""
    configure_logging("router", "INFO")
    with continued(Carried(f"00-{TRACE}-00f067aa0ba902b7-01"), "work"):
        structlog.get_logger("touchstone.test").warning("happened", count=3)
    logging.getLogger("library").error("of %s", "theirs")
    first, second = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert ("router", "happened", "warning", 3) == (
        *(first["service"], first["event"], first["level"], first["count"]),
    )
    assert TRACE == first["trace_id"]
    assert "timestamp" in first
    assert ("of theirs", "library", "error") == (
        *(second["event"], second["logger"], second["level"]),
    )
    assert "trace_id" not in second


def test_the_console_has_lines_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """No JSON, and no colours where it is no terminal."""
    configure_logging("router", "INFO", "console")
    structlog.get_logger("touchstone.test").warning("happened", count=3)
    line = capsys.readouterr().err
    assert "happened" in line
    assert "count=3" in line
    assert "{" not in line
    assert "\x1b" not in line


def test_secrets_are_hidden(capsys: pytest.CaptureFixture[str]) -> None:
    """By name, by shape, in nested values, in messages of libraries, and in tracebacks."""
    configure_logging("gateway", "INFO")
    log = structlog.get_logger("touchstone.test")
    log.warning("told", api_token="abc-1", nested={"password": "abc-2"}, kept="abc-3")
    log.warning("told", text=f"key {PEM} and {JWT}", url="redis://user:abc-4@host:1/0")
    logging.getLogger("library").warning("Authorization: Bearer %s", "abc-5")
    log.error("failed", exc_info=ValueError(PEM))
    log.warning("refused", why="redis://:abc-6@host:1 {'api_secret': 'abc-7'} ?token=abc-8&kept=1")
    text = capsys.readouterr().err
    hidden = ("abc-1", "abc-2", "abc-4", "abc-5", "abc-6", "abc-7", "abc-8", "MHcCAQEE", JWT)
    for secret in hidden:
        assert secret not in text
    assert "abc-3" in text
    assert HIDDEN in text
    assert all(isinstance(json.loads(line), dict) for line in text.splitlines())


def test_the_guides_level_is_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """L3_LOG_LEVEL turns the guide's loggers up without the rest, and a wrong one is an error."""
    monkeypatch.setenv("L3_LOG_LEVEL", "debug")
    configure_logging("simulator", "WARNING")
    logging.getLogger("execution_providers_l3").debug("heard")
    logging.getLogger("elsewhere").info("unheard")
    assert ["heard"] == [json.loads(x)["event"] for x in capsys.readouterr().err.splitlines()]
    monkeypatch.setenv("L3_LOG_LEVEL", "LOUD")
    with pytest.raises(ConfigError, match="L3_LOG_LEVEL"):
        configure_logging("simulator", "WARNING")
