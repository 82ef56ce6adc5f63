"""Emails of the account: language and time zone of the recipient, and failures of the email server."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone, translation

from channels_setup.time_zones import find_time_zone

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def use_preferences(user: Any, request: HttpRequest | None) -> Iterator[None]:
    """Activate the user's language and time zone. Without a choice, the portal's, or those of the user's own page."""
    by_somebody_else = request is None or (request.user.is_authenticated and request.user != user)
    language = getattr(user, "language", "") or (settings.LANGUAGE_CODE if by_somebody_else else None)
    zone = find_time_zone(getattr(user, "time_zone", ""))
    with translation.override(language or translation.get_language()), timezone.override(zone):
        yield


@contextlib.contextmanager
def log_failure(what: str) -> Iterator[None]:
    """Log that the email server did not accept an email (``smtplib.SMTPException`` is an ``OSError``)."""
    try:
        yield
    except OSError:
        logger.warning("cannot send an email: %s", what, exc_info=True)
