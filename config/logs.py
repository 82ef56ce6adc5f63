"""One line a log record, as text for people or JSON for machines, with the request's or task's id on it."""

import logging
import traceback
from typing import TextIO

import structlog
from structlog.typing import ExcInfo, Processor

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
            *([structlog.processors.ExceptionRenderer(_trace)] if as_json else []),
            structlog.processors.JSONRenderer(ensure_ascii=False)
            if as_json
            else structlog.dev.ConsoleRenderer(colors=False, exception_formatter=_print_trace),
        ],
    )


def _trace(exc_info: ExcInfo) -> str:
    """Without PostgreSQL's DETAIL: it quotes the row, with the client's phone and words in it."""
    parts = traceback.format_exception(*exc_info)
    return "".join(part.partition("\nDETAIL:")[0].rstrip("\n") + "\n" for part in parts)


def _print_trace(sio: TextIO, exc_info: ExcInfo) -> None:
    sio.write("\n" + _trace(exc_info))
