"""Structured logs on stderr, for our loggers and the library ones: JSON, or lines for people."""

import logging
import os
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Final

import structlog

from lob.errors import ConfigError
from touchstone.kit.settings import HIDDEN, SECRET_NAMES, LogFormat
from touchstone.kit.trace import add_ids

# The guide's logger names, which L3_LOG_LEVEL turns up or down without touching the rest.
L3_LOGGERS = ("execution_providers_l3", "lob")
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_SECRET_TEXTS: Final = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)"
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"  # a JWT
    r"|(?<=://)[^\s:/@]*:[^\s/@]+(?=@)"  # user, who may have no name, and password of an address
    r"|(?<=(?i:bearer ))\S+|(?<=(?i:authorization: basic ))\S+",
    re.DOTALL,
)
# `token=...`, `"password": "..."`, and what a repr makes of a header.
_SECRET_PAIRS: Final = re.compile(
    r"((?:(?:passw|secret|token|authorization|private_?key|jwt|credential)\w*|api_?key)"
    r"(?:=|:\s*[\"']|[\"']\s*[:,=]\s*b?[\"']?))([^\s\"'&,;}\])]+)",
    re.IGNORECASE,
)


def configure_logging(service: str, level: str, log_format: LogFormat = "json") -> None:
    """Send every log record to stderr with `service`, `event`, `level` and `timestamp`.

    Lines of a traced request have `trace_id` and `span_id`. What looks like a secret is hidden.

    Args:
        service: its name in each line.
        level: of all loggers but the guide's two, which `L3_LOG_LEVEL` may set apart.
        log_format: `json` is an object a line, `console` is for people.

    Raises:
        ConfigError: `L3_LOG_LEVEL` is none of DEBUG, INFO, WARNING, ERROR.
    """
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        add_ids,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                lambda _logger, _name, event: {**event, "service": service},
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                hide_secrets,
                _renderer(log_format),
            ],
        ),
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    l3_level = os.environ.get("L3_LOG_LEVEL", level).upper()
    if l3_level not in LEVELS:
        raise ConfigError(f"environment L3_LOG_LEVEL: {l3_level!r}: allowed: {', '.join(LEVELS)}")
    for name in L3_LOGGERS:
        logging.getLogger(name).setLevel(l3_level)
    # What Python itself warns of would stand beside the lines, as text.
    logging.captureWarnings(capture=True)
    # An access line per request costs more than the request.
    logging.getLogger("uvicorn.access").setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    logging.getLogger("httpx").setLevel(logging.WARNING)


def hide_secrets(
    _logger: Any, _name: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Hide values of names that say secret, and texts that look like it (structlog processor)."""
    return {name: _without_secret(name, value) for name, value in event.items()}


def _without_secret(name: str, value: Any) -> Any:
    if SECRET_NAMES.search(name) and value not in (None, ""):
        return HIDDEN
    if isinstance(value, str):
        return _without_secret_texts(value)
    if isinstance(value, dict):
        return {key: _without_secret(str(key), one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_secret("", one) for one in value]
    if isinstance(value, int | float | None):
        return value
    return _without_secret_texts(str(value))


def _without_secret_texts(text: str) -> str:
    return _SECRET_PAIRS.sub(rf"\1{HIDDEN}", _SECRET_TEXTS.sub(HIDDEN, text))


def _renderer(log_format: LogFormat) -> structlog.types.Processor:
    if log_format == "console":
        # Exceptions are texts by then, and hidden where they must be.
        return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    return structlog.processors.JSONRenderer(default=str)
