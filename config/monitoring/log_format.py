"""Log format: one line per record, as text or JSON, with the ID of the request or task."""

import logging
from typing import TextIO

import structlog
from structlog.typing import ExcInfo, Processor

from .log_redaction import redact_event, render_traceback

SHARED_PROCESSORS: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def build_formatter(style: str) -> logging.Formatter:
    """Return the formatter for Django's LOGGING, and configure structlog to write through the same handlers."""
    structlog.configure(
        processors=[*SHARED_PROCESSORS, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    as_json = style == "json"
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=SHARED_PROCESSORS,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            redact_event,
            *([structlog.processors.ExceptionRenderer(render_traceback)] if as_json else []),
            structlog.processors.JSONRenderer(ensure_ascii=False)
            if as_json
            else structlog.dev.ConsoleRenderer(colors=False, exception_formatter=_write_traceback),
        ],
    )


def _write_traceback(sio: TextIO, exc_info: ExcInfo) -> None:
    sio.write("\n" + render_traceback(exc_info))
