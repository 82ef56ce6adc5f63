"""Links in notes to an external helpdesk: choose one template, fill it in, send it.

Signed like file links, bound to one chat and to the subject of the note, valid for a day and for one message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.signing import BadSignature, Signer
from django.db import connection
from django.urls import reverse

from bridge import service_window
from bridge.models import Conversation, Delivery, TemplateLink
from templates_registry.models import Template

LIFETIME = timedelta(hours=24)
MAX_CALLS_PER_MINUTE = 120  # per link; a person filling in a form stays far below
MAX_LISTED_TEMPLATES = 200

_signer = Signer(salt="okno.template-links")


@dataclass(frozen=True, kw_only=True)
class TemplateChoice:
    """A template behind a link. `key` identifies it in the page's URL; `values` are those already known."""

    key: str
    template: Template
    values: Mapping[str, str]


def create_template_link(conversation: Conversation, choices: Sequence[Mapping[str, Any]] = ()) -> TemplateLink:
    """Create a link. Its note is set when that is created."""
    expires_at = service_window.database_now() + LIFETIME
    return TemplateLink.objects.create(conversation=conversation, choices=list(choices), expires_at=expires_at)


def build_link_url(link: TemplateLink) -> str:
    return settings.PUBLIC_URL.rstrip("/") + reverse("template-link", args=[_signer.sign(str(link.pk))])


def attach_note(links: Sequence[TemplateLink], note: Delivery) -> None:
    TemplateLink.objects.filter(pk__in=[link.pk for link in links]).update(note=note)


def find_template_link(signature: str) -> TemplateLink | None:
    try:
        pk = int(_signer.unsign(signature))
    except (BadSignature, ValueError):
        return None
    rows = TemplateLink.objects.select_related("conversation__api_channel", "conversation__contact", "message")
    return rows.filter(pk=pk).first()


def is_link_expired(link: TemplateLink) -> bool:
    return link.expires_at <= service_window.database_now()


def count_link_call(link: TemplateLink) -> bool:
    """Count a call. Return whether it is within the limit."""
    with connection.cursor() as cursor:
        cursor.execute(
            """UPDATE bridge_templatelink
               SET calls = CASE WHEN calls_since > now() - interval '1 minute' THEN calls + 1 ELSE 1 END,
                   calls_since = CASE WHEN calls_since > now() - interval '1 minute' THEN calls_since ELSE now() END
               WHERE id = %s RETURNING calls""",
            [link.pk],
        )
        row = cursor.fetchone()
    return row is not None and row[0] <= MAX_CALLS_PER_MINUTE


def list_template_choices(link: TemplateLink) -> list[TemplateChoice]:
    """Return the templates that this link may send now."""
    rows = Template.objects.sendable().filter(api_channel=link.conversation.api_channel).select_related("api_channel")
    if not link.choices:
        listed = rows.order_by("name", "language", "pk")[:MAX_LISTED_TEMPLATES]
        return [TemplateChoice(key=str(row.pk), template=row, values={}) for row in listed]
    known = {row.pk: row for row in rows.filter(pk__in=[one["template"] for one in link.choices])}
    return [
        TemplateChoice(key=str(number), template=known[one["template"]], values=one["values"])
        for number, one in enumerate(link.choices)
        if one["template"] in known
    ]
