"""Checks that call other machines: only on request."""

from __future__ import annotations

import smtplib
import urllib.error
import urllib.request
from collections.abc import Iterator

from django.conf import settings
from django.core.mail import send_mail

from channels_setup.checks import check_connection
from channels_setup.models import ApiChannel

from .findings import Finding, error, note, warning

TIMEOUT = 10


def check_public_address() -> Iterator[Finding]:
    """Call the portal by its public URL, as providers do."""
    url = f"{settings.PUBLIC_URL}/health/live"
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT):  # http or https, see the setting
            return
    except urllib.error.HTTPError as problem:
        yield error("network.public_url", f"{url} answers {problem.code}.", "Check the proxy and ALLOWED_HOSTS.")
    except OSError as problem:
        reason = getattr(problem, "reason", problem)
        yield error("network.public_url", f"{url}: {reason}.", "Check DNS, certificate, firewall and proxy.")


def check_providers() -> Iterator[Finding]:
    """Check the connection of each API channel, as its button in the admin does."""
    for channel in ApiChannel.objects.unarchived().order_by("pk"):
        for result in check_connection(channel):
            if result.level != "ok":
                problem = f"“{channel.name}”: {result.sentence}"
                make = error if result.level == "error" else warning
                yield make("network.provider", problem, "Correct the channel's settings in the admin.")


def send_test_mail(address: str) -> Iterator[Finding]:
    if not settings.EMAIL_HOST:
        yield error("network.email", "There is no email server.", "Set EMAIL_URL and EMAIL_FROM.")
        return
    try:
        send_mail("Okno", "This is the test message of `manage.py doctor --send-mail`.", None, [address])
    except (OSError, smtplib.SMTPException) as problem:
        yield error("network.email", f"The email server refused the message: {problem}.", "Correct EMAIL_URL.")
    else:
        yield note("network.email", f"The email server accepted a test message to {address}.")
