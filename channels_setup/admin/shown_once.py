"""Response that shows a secret once. It answers the POST itself, so that the secret is in no session or log."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _


def render_once(
    admin: Any, request: HttpRequest, channel: Any, *, title: str, value: str, notes: list[str], back_label: str = ""
) -> HttpResponse:
    """Render the page that shows a secret with notes and a copy button."""
    opts = admin.model._meta
    page = {
        **admin.admin_site.each_context(request),
        "opts": opts,
        "title": title,
        "subtitle": None,
        "subject": channel.name,
        "value": value,
        "notes": notes,
        "back": reverse(f"admin:{opts.app_label}_{opts.model_name}_change", args=[channel.pk]),
        "back_label": back_label or _("Back to the channel"),
    }
    return TemplateResponse(request, "channels_setup/shown_once.html", page)
