"""One line a log record, as text for people or JSON for machines, with the request's or task's id on it."""

import logging
from typing import TextIO

import structlog
from structlog.typing import ExcInfo, Processor

from .log_redaction import redact_line, render_trace

SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def formatter(style: str) -> logging.Formatter:
    """The Django LOGGING factory; also sets structlog up, which writes through the same handlers."""
    structlog.configure(
        processors=[*SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    as_json = style == "json"
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=SHARED,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            redact_line,
            *([structlog.processors.ExceptionRenderer(render_trace)] if as_json else []),
            structlog.processors.JSONRenderer(ensure_ascii=False)
            if as_json
            else structlog.dev.ConsoleRenderer(colors=False, exception_formatter=_print_trace),
        ],
    )


def _print_trace(sio: TextIO, exc_info: ExcInfo) -> None:
    sio.write("\n" + render_trace(exc_info))
