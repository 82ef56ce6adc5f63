"""Remarks on processed webhook events: items for other channels, unreadable or unsupported items, tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from bridge.models import WebhookEvent
from channels_setup.providers.base import Fact, GroupActivity, ItemUnreadable, SampleReceived

Note = WebhookEvent.Note


def write_event_notes(processed: Sequence[tuple[WebhookEvent, list[Fact]]], *, is_archived: bool = False) -> None:
    """Save the remarks of these events. An event without remarks costs no query."""
    irrelevant = [event.pk for event, facts in processed if not facts and event.body and event.note != Note.ROUTED]
    if irrelevant:
        if is_archived:
            remark = _("The channel is archived, so this event was not processed.")
        else:
            remark = _(
                "This event has no item for this channel: it is for another number or account, or its type is not used."
            )
        WebhookEvent.objects.filter(pk__in=irrelevant).update(error=remark)
    for event, facts in processed:
        remarks = [event.error] if event.note == Note.ROUTED else []
        remarks += _describe_facts(facts)
        if remarks:
            WebhookEvent.objects.filter(pk=event.pk).update(
                error=" ".join(remarks).replace("\0", "\ufffd")[:2000], note=_choose_note(facts) or event.note
            )


def _describe_facts(facts: Sequence[Fact]) -> Iterator[str]:
    if reasons := [fact.problem for fact in facts if isinstance(fact, ItemUnreadable)]:
        sentence = ngettext("%(count)d item could not be read.", "%(count)d items could not be read.", len(reasons))
        yield " ".join([sentence % {"count": len(reasons)}, *reasons])
    if count := sum(isinstance(fact, GroupActivity) for fact in facts):
        yield ngettext(
            "%(count)d item is from a WhatsApp group. Groups are not supported, so no chat was opened.",
            "%(count)d items are from WhatsApp groups. Groups are not supported, so no chat was opened.",
            count,
        ) % {"count": count}
    if samples := sorted({fact.event for fact in facts if isinstance(fact, SampleReceived)}):
        yield _("Test webhooks from the provider's page: %(names)s.") % {"names": ", ".join(samples)}


def _choose_note(facts: Sequence[Fact]) -> str:
    for kind, note in ((GroupActivity, Note.GROUP), (SampleReceived, Note.SAMPLE)):
        if any(isinstance(fact, kind) for fact in facts):
            return note
    return Note.NONE
