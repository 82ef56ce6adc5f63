"""Fixture: everything that is logged during a test, formatted and redacted as in production."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest

from config.monitoring.log_format import build_formatter
from config.monitoring.log_redaction import ArgumentRedactor
from config.web.request_log import RouteFilter


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(build_formatter("json"))
    for each in (RouteFilter(), ArgumentRedactor()):
        handler.addFilter(each)
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)
