"""Remarks on processed webhook events: items for other channels, unreadable or unsupported items, tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from bridge.models import WebhookEvent
from channels_setup.providers.base import Fact, GroupActivity, ItemUnreadable, SampleReceived

Note = WebhookEvent.Note


def write_event_notes(processed: Sequence[tuple[WebhookEvent, list[Fact]]]) -> None:
    """Save the remarks of these events. An event without remarks costs no query."""
    nothing = [event.pk for event, facts in processed if not facts and event.body and event.note != Note.ROUTED]
    if nothing:
        remark = _(
            "Nothing in this event concerns this channel: it is about another number or account, or of an unused type."
        )
        WebhookEvent.objects.filter(pk__in=nothing).update(error=remark)
    for event, facts in processed:
        remarks = [event.error] if event.note == Note.ROUTED else []
        remarks += _describe_facts(facts)
        if remarks:
            WebhookEvent.objects.filter(pk=event.pk).update(
                error=" ".join(remarks).replace("\0", "\ufffd")[:2000], note=_choose_note(facts) or event.note
            )


def _describe_facts(facts: Sequence[Fact]) -> Iterator[str]:
    if lost := [fact.why for fact in facts if isinstance(fact, ItemUnreadable)]:
        yield " ".join([_("%(count)d of its items could not be read.") % {"count": len(lost)}, *lost])
    if count := sum(isinstance(fact, GroupActivity) for fact in facts):
        yield ngettext(
            "%(count)d of its items is from a WhatsApp group. Groups are not supported: no chat was opened.",
            "%(count)d of its items are from a WhatsApp group. Groups are not supported: no chat was opened.",
            count,
        ) % {"count": count}
    if samples := sorted({fact.what for fact in facts if isinstance(fact, SampleReceived)}):
        yield _("A test from the provider's page: %(names)s.") % {"names": ", ".join(samples)}


def _choose_note(facts: Sequence[Fact]) -> str:
    for kind, note in ((GroupActivity, Note.GROUP), (SampleReceived, Note.SAMPLE)):
        if any(isinstance(fact, kind) for fact in facts):
            return note
    return Note.NONE
