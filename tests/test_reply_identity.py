"""Replies without an id: the rule of docs/decisions.md against a simulator that doubles, delays and reorders."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.helpdesk import reply_identity
from bridge.maintenance import housekeeping
from bridge.models import Conversation, HelpdeskDuplicateWindow, HelpdeskReply
from channels_setup.providers.base.helpdesk import CommentAdded, MessageSent, TicketState
from tests.factories import ConversationFactory

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
LATE = reply_identity.DUPLICATE_INTERVAL.total_seconds()

# What operators honestly say: (second, text). Equal texts in one second are wanted.
honest = st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["да", "нет", "ок"])), min_size=1, max_size=6)
# What the network does to each: lateness of the first copy, and of each further one.
lateness = st.floats(0, 0.9)
doubling = st.lists(st.floats(LATE + 1.5, LATE + 300), max_size=2)


@pytest.fixture
def conversation() -> Conversation:
    return ConversationFactory()


def said(second: int, text: str, **more: Any) -> MessageSent:
    stamp = (NOON + timedelta(seconds=second)).strftime("%Y-%m-%d %H:%M:%S")
    return MessageSent(by_operator=True, text=text, chat_id=7, ticket=TicketState(id=1, updated=stamp), **more)


def relayed(
    conversation: Conversation, arrivals: list[tuple[float, MessageSent | CommentAdded]], *, comments: bool
) -> Counter[str]:
    """What goes out when these events come at these seconds, in the order of their coming."""
    HelpdeskReply.objects.all().delete()
    HelpdeskDuplicateWindow.objects.all().delete()
    out: Counter[str] = Counter()
    for at, event in sorted(arrivals, key=lambda arrival: arrival[0]):
        moment = NOON + timedelta(seconds=at)
        if isinstance(event, MessageSent):
            new = reply_identity.register_chat_reply(conversation, event, at=moment, has_comment_events=comments)
        else:
            new = reply_identity.register_comment_reply(conversation, event, at=moment)
        out[event.text] += new is not None
    return +out


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), words=honest)
def test_duplicated_and_reordered_events_are_sent_once_each(
    conversation: Conversation, data: st.DataObject, words: list[tuple[int, str]]
) -> None:
    arrivals: list[tuple[float, MessageSent | CommentAdded]] = []
    for second, text in words:
        event = said(second, text)
        arrivals.append((second + data.draw(lateness), event))
    for second, text in set(words):
        # A redelivery repeats a whole burst or a part of it, but never comes while the burst is under way.
        for late in data.draw(doubling):
            copies = data.draw(st.integers(1, words.count((second, text))))
            arrivals += [(second + late + data.draw(lateness), said(second, text)) for _ in range(copies)]

    assert relayed(conversation, arrivals, comments=False) == Counter(text for _second, text in words)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), words=honest)
def test_with_comments_duplicates_are_distinguished_from_repeats(
    conversation: Conversation, data: st.DataObject, words: list[tuple[int, str]]
) -> None:
    anytime = st.lists(st.floats(0, 300), min_size=1, max_size=3)
    arrivals: list[tuple[float, MessageSent | CommentAdded]] = []
    for number, (second, text) in enumerate(words):
        comment = CommentAdded(comment_id=str(number), ticket_id=1, text=text)
        arrivals += [(second + late, said(second, text)) for late in data.draw(anytime)]
        arrivals += [(second + late, comment) for late in data.draw(anytime)]

    assert relayed(conversation, arrivals, comments=True) == Counter(text for _second, text in words)


def test_a_doubled_chat_event_takes_no_other_replys_comment(conversation: Conversation) -> None:
    first, second = (CommentAdded(comment_id=number, ticket_id=1, text="нет") for number in "12")
    arrivals = [(0.0, first), (1.0, said(1, "нет")), (1.1, second), (2.0, said(1, "нет")), (3.0, said(0, "нет"))]

    assert relayed(conversation, arrivals, comments=True) == {"нет": 2}


def test_two_honest_in_one_second_are_two_and_their_redelivery_none(conversation: Conversation) -> None:
    arrivals: list[tuple[float, MessageSent | CommentAdded]] = [
        (at, said(0, "да")) for at in (0.0, 0.4, 60.0, 60.1, 3600.0)
    ]

    assert relayed(conversation, arrivals, comments=False) == {"да": 2}


def test_new_chat_and_all_messages_for_one_message_are_one(conversation: Conversation) -> None:
    arrivals: list[tuple[float, MessageSent | CommentAdded]] = [(at, said(0, "да", state="new")) for at in (0.0, 0.01)]

    assert relayed(conversation, arrivals, comments=False) == {"да": 1}


def test_an_event_with_an_id_is_known_by_it_alone(conversation: Conversation) -> None:
    events = [said(0, "да", event_id=str(number)) for number in (1, 2, 1, 3, 2)]

    assert relayed(conversation, [(0.0, event) for event in events], comments=False) == {"да": 3}


def test_without_a_stamp_an_equal_answer_much_later_is_a_new_one(conversation: Conversation) -> None:
    bare = MessageSent(by_operator=True, text="да", chat_id=7)

    assert relayed(conversation, [(0.0, bare), (30.0, bare), (600.0, bare)], comments=False) == {"да": 2}


def test_identities_are_kept_as_long_as_raw_events(conversation: Conversation) -> None:
    long_ago, lately = timezone.now() - timedelta(days=400), timezone.now()
    for number, at in enumerate((long_ago, lately)):
        reply_identity.register_chat_reply(conversation, said(number, "да"), at=at, has_comment_events=False)

    housekeeping.prune_expired_rows()

    assert HelpdeskReply.objects.count() == HelpdeskDuplicateWindow.objects.count() == 1
