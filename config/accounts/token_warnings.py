"""Warning on the start page about API tokens that expire soon."""

from __future__ import annotations

from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from bridge.admin import start_page

from .models import ApiToken

MAX_NAMES = 3


def list_expiring_tokens() -> list[dict[str, str]]:
    """Return one sentence that names the first tokens, or nothing."""
    tokens = list(ApiToken.objects.expiring_soon(timezone.now()).order_by("expires_at")[: MAX_NAMES + 1])
    if not tokens:
        return []
    names = ", ".join(f"“{token.name}”" for token in tokens[:MAX_NAMES]) + (" …" if len(tokens) > MAX_NAMES else "")
    sentence = _("API tokens expire soon: %(names)s. Create new ones and enter them in the programs.")
    url = reverse("admin:accounts_apitoken_changelist") + "?expiring=soon"
    return [{"sentence": sentence % {"names": names}, "url": url}]


def connect_warnings() -> None:
    if list_expiring_tokens not in start_page.WARNING_SOURCES:
        start_page.WARNING_SOURCES.append(list_expiring_tokens)
