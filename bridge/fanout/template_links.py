"""Links in notes of an external helpdesk, to choose, fill in and send a template.

A link is signed, belongs to one chat and to the templates of its note, and is valid for a day and for one message.
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
MAX_CALLS_PER_MINUTE = 120  # per link, far more than a person needs
MAX_LISTED_TEMPLATES = 200

_signer = Signer(salt="okno.template-links")


@dataclass(frozen=True, kw_only=True)
class LinkChoice:
    """A template of a link. `key` identifies it in the page's URL; `values`: the values that are already known."""

    key: str
    template: Template
    values: Mapping[str, str]


def create_template_link(conversation: Conversation, choices: Sequence[Mapping[str, Any]] = ()) -> TemplateLink:
    """Create a link. `attach_note` sets its note."""
    expires_at = service_window.database_now() + LIFETIME
    return TemplateLink.objects.create(conversation=conversation, choices=list(choices), expires_at=expires_at)


def build_link_url(link: TemplateLink) -> str:
    """Return the public URL of a link."""
    return settings.PUBLIC_URL.rstrip("/") + reverse("template-link", args=[_signer.sign(str(link.pk))])


def attach_note(links: Sequence[TemplateLink], note: Delivery) -> None:
    """Store the note that contains these links."""
    TemplateLink.objects.filter(pk__in=[link.pk for link in links]).update(note=note)


def find_template_link(signature: str) -> TemplateLink | None:
    """Return the link of a signature, or None if the signature is not valid."""
    try:
        pk = int(_signer.unsign(signature))
    except (BadSignature, ValueError):
        return None
    rows = TemplateLink.objects.select_related("conversation__api_channel", "conversation__contact", "message")
    return rows.filter(pk=pk).first()


def is_link_expired(link: TemplateLink) -> bool:
    """Return whether a link has expired, by the database's clock."""
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


def list_template_choices(link: TemplateLink) -> list[LinkChoice]:
    """Return the templates that this link may send now."""
    rows = Template.objects.sendable().filter(api_channel=link.conversation.api_channel).select_related("api_channel")
    if not link.choices:
        first = rows.order_by("name", "language", "pk")[:MAX_LISTED_TEMPLATES]
        return [LinkChoice(key=str(row.pk), template=row, values={}) for row in first]
    templates = {row.pk: row for row in rows.filter(pk__in=[choice["template"] for choice in link.choices])}
    return [
        LinkChoice(key=str(number), template=templates[choice["template"]], values=choice["values"])
        for number, choice in enumerate(link.choices)
        if choice["template"] in templates
    ]
