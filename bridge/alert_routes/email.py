"""Emails of alert routes, through the SMTP server of EMAIL_URL.

The system administrator sets the server, so the address guard of ``http_client`` does not apply. SMTP blocks: these
deliveries have a lane of their own, which a housekeeping task runs.
"""

from __future__ import annotations

import smtplib
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core import mail

from channels_setup.providers.base import ACCEPTED, PERMANENT, RETRY, Outcome

FIRST_FINAL_CODE = 500  # SMTP codes from here on are final


def list_recipients(target: str) -> list[str]:
    """Return the addresses of a route's target, which commas separate."""
    return [address.strip() for address in target.split(",") if address.strip()]


def send_email(target: str, payload: Mapping[str, Any], *, key: str) -> Outcome:
    """Send a message. Its Message-ID is the same in every attempt, so that mail programs show a repeat once.

    If the server refuses some of several recipients, the message counts as sent: repeats would go to the others, too.
    """
    if not settings.EMAIL_HOST:
        return Outcome(verdict=PERMANENT, reason="alert_email_off")
    message = mail.EmailMessage(
        subject=" ".join(f"{payload['subject']}".split()),
        body=f"{payload['text']}\n",
        to=list_recipients(target),
        headers={"Message-ID": f"<{key}@{settings.PUBLIC_HOST}>", "Auto-Submitted": "auto-generated"},
    )
    try:
        message.send()
    except smtplib.SMTPRecipientsRefused as refusal:
        codes = [code for code, _answer in refusal.recipients.values()]
        answers = "; ".join(_decode(answer) for _code, answer in refusal.recipients.values())
        return _judge(min(codes, default=0), answers)
    except smtplib.SMTPResponseException as refusal:
        return _judge(refusal.smtp_code, _decode(refusal.smtp_error))
    except (smtplib.SMTPException, OSError) as problem:
        return Outcome(verdict=RETRY, reason="alert_route_unreachable", details=f"{type(problem).__name__}: {problem}")
    return Outcome(verdict=ACCEPTED)


def _judge(code: int, answer: str) -> Outcome:
    if code >= FIRST_FINAL_CODE:
        return Outcome(verdict=PERMANENT, reason="alert_route_refused", code=str(code), details=answer[:200])
    return Outcome(verdict=RETRY, reason="alert_route_unreachable", code=str(code), details=answer[:200])


def _decode(answer: bytes | str) -> str:
    return answer.decode("utf-8", "replace") if isinstance(answer, bytes) else str(answer)
