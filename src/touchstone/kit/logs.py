"""Structured logs: one JSON object a line on stderr, for our loggers and the library ones."""

import logging
import os
import sys

import structlog

from lob.errors import ConfigError

# The guide's logger names, which L3_LOG_LEVEL turns up or down without touching the rest.
L3_LOGGERS = ("execution_providers_l3", "lob")
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def configure_logging(service: str, level: str) -> None:
    """Send every log record to stderr as JSON with `service`, `event`, `level` and `timestamp`.

    Raises:
        ConfigError: `L3_LOG_LEVEL` is none of DEBUG, INFO, WARNING, ERROR.
    """
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
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
                structlog.processors.JSONRenderer(default=str),
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
    # An access line per request costs more than the request.
    logging.getLogger("uvicorn.access").setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    logging.getLogger("httpx").setLevel(logging.WARNING)
