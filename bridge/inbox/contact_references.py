"""Links from raw events to the contacts that they name, so that an erasure or an export finds the events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.db import connection
from django.utils import timezone

from bridge.metrics import recording
from bridge.models import WebhookEvent
from bridge.raw_requests import clear_events
from channels_setup import prepared_statements
from channels_setup.providers.base import Fact


class ContactReferences:
    """The contacts that each fact of a batch names, its new message, and the facts about erased people."""

    def __init__(self) -> None:
        self._contacts: dict[int, set[int]] = {}
        self._erased: set[int] = set()
        self._messages: dict[int, int] = {}

    def link(self, fact: object, contact_ids: Iterable[int | None]) -> None:
        """Record that a fact names these contacts."""
        self._contacts.setdefault(id(fact), set()).update(pk for pk in contact_ids if pk is not None)

    def link_message(self, fact: object, message_id: int) -> None:
        """Record the new message of a fact."""
        self._messages[id(fact)] = message_id

    def list_messages(self, facts: Iterable[Fact]) -> list[int]:
        """Return the new messages of an event with these facts."""
        return [self._messages[id(fact)] for fact in facts if id(fact) in self._messages]

    def mark_erased(self, facts: Iterable[object]) -> None:
        """Record facts about an erased person."""
        self._erased.update(id(fact) for fact in facts)

    def list_contacts(self, facts: Iterable[Fact]) -> list[int]:
        """Return the contacts that an event with these facts names."""
        return sorted({pk for fact in facts for pk in self._contacts.get(id(fact), ())})

    def has_erased(self, facts: Iterable[Fact]) -> bool:
        """Return whether one of these facts is about an erased person."""
        return any(id(fact) in self._erased for fact in facts)


def finish_events(processed: Sequence[tuple[WebhookEvent, list[Fact]]], references: ContactReferences) -> None:
    """Mark events as processed and link their contacts. Empty events about erased people."""
    with connection.cursor() as cursor:  # plain SQL: the links differ from event to event
        prepared_statements.execute(
            cursor,
            """UPDATE bridge_webhookevent e
               SET state = %s, processed_at = %s, error = '', traceback = '', contact_ids = v.contact_ids::bigint[]
               FROM unnest(%s::bigint[], %s::text[]) AS v(id, contact_ids) WHERE e.id = v.id""",
            [
                WebhookEvent.State.PROCESSED,
                timezone.now(),
                [event.pk for event, _facts in processed],
                [f"{{{','.join(map(str, references.list_contacts(facts)))}}}" for _event, facts in processed],
            ],
        )
    recording.count_finished_events([event for event, _facts in processed], WebhookEvent.State.PROCESSED)
    if erased := [event for event, facts in processed if references.has_erased(facts)]:
        clear_events(event.pk for event in erased)
        for event in erased:
            event.body = b""
