"""Merging two contacts of one person, writing to the merged contact, and undoing the merge."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from bridge import service_window
from bridge.conversations import merge_lookup, receiving, tickets
from bridge.merging import rows, rules
from bridge.merging.merge import merge_contacts
from bridge.merging.undo import undo_merge
from bridge.models import (
    Contact,
    ContactMerge,
    ContactNote,
    Conversation,
    Delivery,
    Draft,
    HeldReply,
    HelpdeskChat,
    Message,
    ServiceWindow,
    Ticket,
)
from bridge.outbox import dispatcher
from bridge.relay import reply_submission
from channels_setup.models import ApiChannel
from tests.factories import ApiChannelFactory, ChatChannelFactory, boris, vera
from tests.scenarios.merging import ANNA, ANYA, chat_of, contact, recipients, writes

STATUS = Ticket.Status


@pytest.fixture
def channel(db: None) -> ApiChannel:
    return ApiChannelFactory()


def send_reply(chat: Conversation, text: str) -> reply_submission.SubmitResult:
    return reply_submission.submit_reply(conversation_id=chat.pk, text=text, author=boris(chat.chat_channel))


# A merge and its undo leave these tables behind and may change these timestamps.
LEAVES = {"bridge_contactmerge", "bridge_mergedconversation", "bridge_idempotencykey", "bridge_conversationactivity"}
STAMPS = "#- '{updated_at}'"


def dump_tables() -> dict[str, list[str]]:
    found = {}
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names():
            if table.startswith("bridge_") and table not in LEAVES:
                cursor.execute(f"SELECT (to_jsonb(t) {STAMPS})::text AS row FROM {table} t ORDER BY row")
                found[table] = [row[0] for row in cursor.fetchall()]
    return found


# --- the matrix ------------------------------------------------------------------------------------------

REQUESTS = {"none": None, "live": STATUS.OPEN, "solved": STATUS.SOLVED, "closed": STATUS.CLOSED}


def create_person(channel: ApiChannel, who: str, *, request: str, window: str, queued: bool, desk: str) -> None:
    """Create a client with a history: messages in both directions, a request, a window, queued messages."""
    hours = 1.0 if window == "open" else 30.0
    writes(channel, who, "Здравствуйте", hours=hours + 2)
    writes(channel, who, "Есть вопрос", hours=hours)
    chat = chat_of(who)
    if queued and window == "open":
        send_reply(chat, f"Ответ для {who}")
        Draft.objects.create(conversation=chat, user=boris(), text=f"Черновик для {who}")
    if queued and window != "open":
        HeldReply.objects.create(
            conversation=chat, author=boris(chat.chat_channel), text="Позже", drop_at=timezone.now() + timedelta(days=2)
        )
    ticket = Ticket.objects.get(conversation=chat)
    if request == "none":
        Message.objects.filter(conversation=chat).update(ticket=None)
        ticket.delete()
        Conversation.objects.filter(pk=chat.pk).update(request_status=None)
    else:
        tickets.set_ticket_status(ticket.pk, status=REQUESTS[request] or 0)
    if desk == "outside":
        HelpdeskChat.objects.update_or_create(
            conversation=chat,
            defaults={"chat_channel": chat.chat_channel, "chat_id": 5000 + chat.pk, "client_id": 7000 + chat.pk},
        )
    return chat


CASES = [
    pytest.param(requests, states, queued, desk, id=f"{'-'.join(requests)} {'-'.join(states)} {queued} {desk}")
    for number, (requests, states, queued, desk) in enumerate(
        itertools.product(
            itertools.product(["live", "closed"], ["live", "closed"]),
            itertools.product(["open", "closed"], ["open", "closed"]),
            [True, False],
            ["desk", "outside"],
        )
    )
    if desk == "desk" or number % 3 == 0
] + [
    pytest.param(requests, ("open", "open"), True, "desk", id=f"{'-'.join(requests)}")
    for requests in [("solved", "live"), ("live", "solved"), ("none", "live"), ("live", "none"), ("none", "none")]
]


@pytest.mark.parametrize(("requests", "states", "queued", "desk"), CASES)
def test_a_merge_keeps_everything_in_order_and_its_undo_restores_it(
    channel: ApiChannel, requests: tuple[str, str], states: tuple[str, str], queued: bool, desk: str
) -> None:
    for who, request, window in zip((ANNA, ANYA), requests, states, strict=True):
        create_person(channel, who, request=request, window=window, queued=queued, desk=desk)
    ContactNote.objects.create(contact=contact(ANYA), author=vera(), text="Забирает сама")
    Contact.objects.filter(external_id=ANYA).update(tags=["постоянный"], email="anna@example.com")
    before, words = dump_tables(), list(Message.objects.order_by("pk").values_list("text", flat=True))
    queue, old = recipients(), chat_of(ANYA).pk

    made = merge_contacts(contact(ANYA).pk, contact(ANNA).pk, by=vera())

    chat = Conversation.objects.get()
    assert chat.contact == contact(ANNA)
    assert list(Message.objects.filter(conversation=chat).order_by("pk").values_list("text", flat=True)) == words
    assert receiving.lock_conversation(old) == chat
    live = Ticket.objects.filter(conversation=chat).exclude(status__in=Ticket.ENDED)
    assert live.count() == (1 if {"live", "solved"} & set(requests) else 0)
    open_windows = ServiceWindow.objects.filter(conversation=chat, state="open")
    assert open_windows.count() == (1 if "open" in states else 0)
    assert recipients() == queue
    assert chat.unread == sum(row.unread for row in Conversation.objects.all())

    undo_merge(made.pk, by=vera())

    after = dump_tables()
    assert after == before
    assert ContactMerge.objects.get().undone_by == vera()


@pytest.mark.parametrize("last", [ANNA, ANYA])
@pytest.mark.parametrize("states", [("open", "open"), ("open", "closed"), ("closed", "open")])
def test_a_reply_goes_to_the_number_that_wrote_last(channel: ApiChannel, states: tuple[str, str], last: str) -> None:
    for who, window in zip((ANNA, ANYA), states, strict=True):
        writes(channel, who, "Первое", hours=3 if window == "open" else 30)
    merge_contacts(contact(ANYA).pk, contact(ANNA).pk, by=vera())

    message = writes(channel, last, "Последнее", hours=0.5)
    chat = Conversation.objects.get()
    assert message.conversation == chat and service_window.get_window_state(chat).is_open
    sent = send_reply(chat, "Ответ").message

    assert recipients() == [last]
    assert sent is not None and (sent.merged_contact or chat.contact) == contact(last)
    other = ANNA if last == ANYA else ANYA
    writes(channel, other, "И я", hours=0.1)
    send_reply(chat, "Второй ответ")
    assert recipients() == [last, other]
    assert ServiceWindow.objects.filter(conversation=chat, state="open").count() == 1


def test_late_messages_do_not_redirect_replies(channel: ApiChannel) -> None:
    writes(channel, ANNA, "Сейчас", hours=1)
    writes(channel, ANYA, "Давно", hours=40)
    merge_contacts(contact(ANYA).pk, contact(ANNA).pk, by=vera())

    writes(channel, ANYA, "Опоздало", hours=5)
    send_reply(chat_of(ANNA), "Ответ")

    assert recipients() == [ANNA]


def test_queued_messages_use_their_own_numbers_window(channel: ApiChannel) -> None:
    """An open window of the other number does not allow messages to this one."""
    writes(channel, ANYA, "Первое", hours=23)
    send_reply(chat_of(ANYA), "Ответ на старый номер")
    writes(channel, ANNA, "Второе", hours=1)
    merge_contacts(contact(ANYA).pk, contact(ANNA).pk, by=vera())
    ServiceWindow.objects.filter(merged_contact=contact(ANYA)).update(expires_at=timezone.now() - timedelta(seconds=1))

    dispatcher.send_due_deliveries()

    delivery = Delivery.objects.get(kind="message")
    assert (delivery.state, delivery.reason) == ("cancelled", "window_closed_before_sending")


@pytest.mark.parametrize("last", [ANNA, ANYA])
def test_undo_distributes_messages_since_the_merge_by_number(channel: ApiChannel, last: str) -> None:
    writes(channel, ANNA, "Первое Анны", hours=4)
    writes(channel, ANYA, "Первое второй", hours=3)
    old = chat_of(ANYA).pk
    made = merge_contacts(contact(ANYA).pk, contact(ANNA).pk, by=vera())
    writes(channel, ANYA, "Второе второй", hours=1)
    writes(channel, last, "Последнее", hours=0.5)
    send_reply(chat_of(ANNA), "Ответ")

    undo_merge(made.pk, by=vera())

    first, second = chat_of(ANNA), chat_of(ANYA)
    assert second.pk == old
    texts = {
        chat: list(Message.objects.filter(conversation=chat).order_by("pk").values_list("text", flat=True))
        for chat in (first, second)
    }
    mine = first if last == ANNA else second
    assert texts[mine][-2:] == ["Последнее", "Ответ"]
    assert texts[first][0] == "Первое Анны" and texts[second][:2] == ["Первое второй", "Второе второй"]
    for chat in (first, second):
        assert not Message.objects.filter(conversation=chat).exclude(ticket__conversation=chat).exists()
        assert not Delivery.objects.filter(conversation=chat).exclude(message__conversation=chat).exists()
        assert Ticket.objects.filter(conversation=chat).exclude(status__in=Ticket.ENDED).count() == 1
        assert ServiceWindow.objects.filter(conversation=chat, state="open").count() == 1
    assert recipients() == [last]
    assert writes(channel, ANYA, "Снова", hours=0).conversation == second


def test_chats_in_other_channels_move_too_and_new_ones_are_distributed(channel: ApiChannel) -> None:
    second, third = ChatChannelFactory(), ChatChannelFactory()
    channel.watched.add(second, third)
    writes(channel, ANNA, "В первом", hours=2)
    writes(channel, ANYA, "Во втором", hours=2, chat_channel=second)
    before = dump_tables()

    made = merge_contacts(contact(ANYA).pk, contact(ANNA).pk, by=vera())

    assert set(Conversation.objects.values_list("contact__external_id", flat=True)) == {ANNA}
    undo_merge(made.pk, by=vera())
    assert dump_tables() == before

    made = merge_contacts(contact(ANYA).pk, contact(ANNA).pk, by=vera())
    writes(channel, ANYA, "В третьем", chat_channel=third)
    writes(channel, ANNA, "И во втором", chat_channel=second)
    writes(channel, ANYA, "И в первом", chat_channel=channel.default_chat_channel)
    undo_merge(made.pk, by=vera())
    owners = {
        (row.conversation.contact.external_id, row.conversation.chat_channel_id): row.text
        for row in Message.objects.select_related("conversation__contact").order_by("pk")
    }
    first = channel.default_chat_channel
    assert first is not None
    assert owners == {
        (ANNA, first.pk): "В первом",
        (ANYA, second.pk): "Во втором",
        (ANYA, third.pk): "В третьем",
        (ANNA, second.pk): "И во втором",
        (ANYA, first.pk): "И в первом",
    }


def test_three_merged_contacts_are_separated_from_the_last_merge_on(channel: ApiChannel) -> None:
    third = "15550001111"
    for who in (ANNA, ANYA, third):
        writes(channel, who, f"Пишет {who}", hours=2)
    first_chat = chat_of(third).pk
    before = dump_tables()

    inner = merge_contacts(contact(third).pk, contact(ANYA).pk, by=vera())
    outer = merge_contacts(contact(ANYA).pk, contact(ANNA).pk, by=vera())

    assert writes(channel, third, "Ещё", hours=1).conversation.contact == contact(ANNA)
    assert receiving.lock_conversation(first_chat).contact == contact(ANNA)
    assert [one.external_id for one in merge_lookup.list_people(contact(ANNA))] == [ANNA, ANYA, third]
    with pytest.raises(rules.MergeRefused):
        undo_merge(inner.pk, by=vera())
    Message.objects.filter(text="Ещё").delete()
    Conversation.objects.update(unread=3)

    undo_merge(outer.pk, by=vera())
    undo_merge(inner.pk, by=vera())

    same = set(before) - {"bridge_conversation", "bridge_servicewindow"}
    assert {name: dump_tables()[name] for name in same} == {name: before[name] for name in same}


# --- what is refused -------------------------------------------------------------------------------------


def test_a_refused_merge_states_the_reason(channel: ApiChannel) -> None:
    writes(channel, ANNA, "Раз")
    writes(channel, ANYA, "Два")
    elsewhere = writes(ApiChannelFactory(), "79990001122", "Три").conversation.contact
    mine, theirs = contact(ANNA), contact(ANYA)
    for source, target in [(mine, mine), (elsewhere, mine)]:
        with pytest.raises(rules.MergeRefused):
            merge_contacts(source.pk, target.pk, by=vera())
    merge_contacts(theirs.pk, mine.pk, by=vera())
    for source, target in [(theirs, mine), (mine, theirs)]:
        with pytest.raises(rules.MergeRefused):
            merge_contacts(source.pk, target.pk, by=vera())
    assert ContactMerge.objects.count() == 1


def test_a_merge_is_refused_while_a_message_is_being_sent(channel: ApiChannel) -> None:
    writes(channel, ANNA, "Раз")
    writes(channel, ANYA, "Два")
    send_reply(chat_of(ANYA), "Ответ")
    Delivery.objects.update(state=Delivery.State.SENDING)

    with pytest.raises(rules.MergeRefused):
        merge_contacts(contact(ANYA).pk, contact(ANNA).pk, by=vera())

    assert Conversation.objects.count() == 2


@pytest.mark.parametrize("late", [False, True])
def test_a_merge_is_undone_once_and_within_a_day(channel: ApiChannel, late: bool) -> None:
    writes(channel, ANNA, "Раз")
    writes(channel, ANYA, "Два")
    made = merge_contacts(contact(ANYA).pk, contact(ANNA).pk, by=vera())
    if late:
        ContactMerge.objects.update(at=timezone.now() - timedelta(hours=24, seconds=1))
    else:
        undo_merge(made.pk, by=vera())

    with pytest.raises(rules.MergeRefused):
        undo_merge(made.pk, by=vera())

    assert Conversation.objects.count() == (1 if late else 2)


def test_a_changed_draft_is_not_split(channel: ApiChannel) -> None:
    for who in (ANNA, ANYA):
        writes(channel, who, "Раз")
        Draft.objects.create(conversation=chat_of(who), user=boris(), text=f"Для {who}")
    made = merge_contacts(contact(ANYA).pk, contact(ANNA).pk, by=vera())
    assert Draft.objects.get().text == f"Для {ANNA}\n\nДля {ANYA}"
    Draft.objects.update(text="Новый текст")

    undo_merge(made.pk, by=vera())

    assert [(row.conversation, row.text) for row in Draft.objects.all()] == [(chat_of(ANNA), "Новый текст")]


def test_tables_unique_per_conversation_have_merge_rules() -> None:
    """A table added later is moved automatically, unless rows of two conversations could collide in it."""
    tables = list(rows.list_plain_tables())
    assert tables
    for model, name in tables:
        unique = [one for one in model._meta.total_unique_constraints if name in one.fields]
        field: Any = model._meta.get_field(name)
        assert not unique and not field.unique, model


def test_a_name_set_since_the_merge_stays_after_the_undo(channel: ApiChannel) -> None:
    writes(channel, ANNA, "Раз")
    writes(channel, ANYA, "Два")
    Contact.objects.filter(external_id=ANYA).update(tags=["опт"], email="anya@example.com")
    made = merge_contacts(contact(ANYA).pk, contact(ANNA).pk, by=vera())
    assert (contact(ANNA).tags, contact(ANNA).email) == (["опт"], "anya@example.com")
    Contact.objects.filter(external_id=ANNA).update(email="new@example.com")

    undo_merge(made.pk, by=vera())

    assert (contact(ANNA).tags, contact(ANNA).email) == ([], "new@example.com")
    assert (contact(ANYA).tags, contact(ANYA).email) == (["опт"], "anya@example.com")


def test_parallel_requests_survive_a_merge_and_its_undo(channel: ApiChannel) -> None:
    chats = [writes(channel, who, "?").conversation for who in (ANNA, ANYA)]
    for chat in chats:
        tickets.open_ticket(receiving.lock_conversation(chat.pk), text="Второй", properties={}, assignee_id=None)
    before = {ticket.pk: (ticket.conversation_id, ticket.status) for ticket in Ticket.objects.all()}

    made = merge_contacts(contact(ANYA).pk, contact(ANNA).pk, by=vera())
    live = Ticket.objects.exclude(status__in=Ticket.ENDED)
    assert live.count() == 3 and live.values("conversation").distinct().count() == 1
    undo_merge(made.pk, by=vera())

    assert {ticket.pk: (ticket.conversation_id, ticket.status) for ticket in Ticket.objects.all()} == before
