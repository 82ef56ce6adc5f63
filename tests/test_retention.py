"""Retention per channel: what is too old is deleted everywhere, what is still needed stays."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import connection, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from bridge.conversations import message_statuses
from bridge.conversations.erased_ids import fingerprint_erased
from bridge.inbox import processing
from bridge.maintenance import housekeeping, retention, retention_sql
from bridge.models import (
    Attachment,
    Attempt,
    Conversation,
    Delivery,
    Draft,
    ErasedMessage,
    HeldReply,
    IdempotencyKey,
    Message,
    PendingCorrection,
    ServiceWindow,
    Ticket,
    Upload,
    WebhookEvent,
)
from bridge.outbox import resend
from channels_setup.models import ApiChannel
from channels_setup.providers.base import ContactInfo, MessageReceived, ReactionChanged, StatusChanged
from tests.factories import (
    ApiChannelFactory,
    ConversationFactory,
    DeliveryFactory,
    MessageFactory,
    ServiceWindowFactory,
    TicketFactory,
    UserFactory,
    token_of,
    vera,
)

WORDS = "bilbycanary"
OLD, NEW = timedelta(days=40), timedelta(days=20)  # the channel keeps messages for 30 days


@pytest.fixture
def media(tmp_path: Path, settings: Any) -> Path:
    settings.MEDIA_ROOT = tmp_path
    return tmp_path


@pytest.fixture
def channel() -> ApiChannel:
    made: ApiChannel = ApiChannelFactory(keep_messages_days=30)
    return made


@pytest.fixture
def chat(channel: ApiChannel) -> Conversation:
    """A chat where nothing happened for 40 days."""
    made: Conversation = ConversationFactory(api_channel=channel, last_text=WORDS, name="Anna")
    Conversation.objects.filter(pk=made.pk).update(last_message_at=ago(OLD))
    return made


def ago(age: timedelta) -> datetime:
    return timezone.now() - age


def make_message(chat: Conversation, *, age: timedelta = OLD, **values: Any) -> Message:
    message: Message = MessageFactory(conversation=chat, text=values.pop("text", WORDS), **values)
    Message.objects.filter(pk=message.pk).update(created_at=ago(age))
    return message


def make_file(message: Message, name: str = "file.txt") -> Attachment:
    attachment = Attachment(message=message, name=name, mime="text/plain", size=5)
    attachment.file.save(name, ContentFile(WORDS.encode()), save=False)
    attachment.save()
    return attachment


def is_expired(message: Message) -> bool:
    message.refresh_from_db()
    assert (message.expired_at is None) == bool(message.text)
    return message.expired_at is not None


def find_words() -> list[str]:
    """Return the tables that contain the words, in any column."""
    found = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names():
            cursor.execute(f'SELECT count(*) FROM "{table}" t WHERE t::text LIKE %s', [f"%{WORDS}%"])
            if cursor.fetchone()[0]:
                found.append(table)
    return found


def run() -> int:
    with transaction.atomic():  # so that a failed statement fails the test, not the next one
        return retention.apply_retention()


@pytest.mark.django_db
def test_words_of_old_messages_are_deleted_wherever_they_are_repeated(chat: Conversation, media: Path) -> None:
    ticket = TicketFactory(conversation=chat, status=Ticket.Status.CLOSED, subject=WORDS, first_text=WORDS)
    Ticket.objects.filter(pk=ticket.pk).update(opened_at=ago(OLD))
    received = make_message(chat, ticket=ticket, shown={"what": WORDS}, reactions=[{"by": "us", "emoji": WORDS}])
    template = {"name": "ready", "language": "ru", "parameters": [WORDS]}
    details = {"code": "131026", "title": WORDS, "operator": WORDS}
    failed = make_message(
        chat, ticket=ticket, outbound=True, status="failed", external_id=f"wamid.{WORDS}", details=details,
        template=template, reason="provider_failed",
    )  # fmt: skip
    dead = DeliveryFactory(message=failed, state="dead", reason="http_status")
    note = DeliveryFactory(message=None, conversation=chat, kind="note", state="delivered", payload={"text": WORDS})
    Delivery.objects.update(created_at=ago(OLD))
    for delivery in (dead, note):
        Attempt.objects.create(delivery=delivery, number=1, started_at=ago(NEW), duration_ms=5, answer=WORDS)
    attachment, upload = make_file(received, f"{WORDS}.txt"), Upload(conversation=chat, message=failed, name=WORDS)
    upload.size, upload.expires_at = 5, timezone.now() + timedelta(days=99)
    upload.file.save("sent.txt", ContentFile(WORDS.encode()), save=False)
    upload.save()
    Draft.objects.create(conversation=chat, user=UserFactory(), text=WORDS)
    Draft.objects.update(updated_at=ago(OLD))
    held = HeldReply.objects.create(conversation=chat, text=WORDS, drop_at=ago(OLD), state="dropped")
    HeldReply.objects.filter(pk=held.pk).update(finished_at=ago(OLD))
    correction = PendingCorrection.objects.create(
        api_channel=chat.api_channel, target_id="x", kind="edit", by_us=False, text=WORDS
    )
    PendingCorrection.objects.filter(pk=correction.pk).update(received_at=ago(OLD))
    key = IdempotencyKey.objects.create(owner=f"chat {chat.pk}/1", key="k", fingerprint=b"f", answer={"text": WORDS})
    IdempotencyKey.objects.filter(pk=key.pk).update(created_at=ago(OLD))

    housekeeping.prune_expired_rows()

    assert find_words() == []
    assert [path for path in media.rglob("*") if path.is_file()] == []
    assert not Attachment.objects.filter(pk=attachment.pk).exists()
    assert is_expired(received) and is_expired(failed)
    # What reports count is unchanged.
    assert (failed.status, failed.reason, failed.ticket, failed.direction) == (
        "failed", "provider_failed", ticket, "outbound",
    )  # fmt: skip
    assert failed.template == {"name": "ready", "language": "ru"}
    assert failed.details == {"code": "131026"}
    note.refresh_from_db()
    assert note.state == "delivered"
    assert run() == 0


@pytest.mark.django_db
def test_a_dead_letter_without_content_cannot_be_sent(chat: Conversation) -> None:
    dead = DeliveryFactory(message=make_message(chat, outbound=True, status="failed"), state="dead")
    run()
    dead.refresh_from_db()

    assert (dead.state, dead.reason) == ("cancelled", "content_deleted")
    assert resend.resend_deliveries(dead.pk) == 0
    preview = resend.preview_resend([dead])[0]
    assert (preview.will_send, preview.code) == (False, "content_deleted")


@pytest.mark.django_db
def test_what_is_still_needed_is_kept(chat: Conversation, channel: ApiChannel) -> None:
    waiting = make_message(chat, outbound=True, status="pending")
    DeliveryFactory(message=waiting, state="pending")
    event = make_message(chat)
    DeliveryFactory(message=event, event=True, state="sending")
    quoted = make_message(chat)
    HeldReply.objects.create(conversation=chat, text="held", drop_at=timezone.now(), quoted=quoted)
    asked = ConversationFactory(api_channel=channel)
    earlier, question = make_message(asked), make_message(asked)
    ServiceWindowFactory(conversation=asked)
    active = ConversationFactory(api_channel=channel)  # its last message is from today
    of_open = make_message(active, ticket=TicketFactory(conversation=active))
    of_closed = make_message(active, ticket=TicketFactory(conversation=active, status=Ticket.Status.CLOSED))
    forgotten = make_message(chat, ticket=TicketFactory(conversation=chat))
    recent, of_another_channel = make_message(chat, age=NEW), make_message(ConversationFactory())

    run()

    assert [is_expired(one) for one in (waiting, event, quoted, question, of_open, recent, of_another_channel)] == [
        False
    ] * 7
    assert is_expired(earlier) and is_expired(of_closed) and is_expired(forgotten)
    # Once nothing needs them, they expire.
    Delivery.objects.update(state="delivered")
    HeldReply.objects.update(state="released")
    assert run() == 3
    assert is_expired(waiting) and is_expired(quoted)


def test_statuses_in_sql_are_those_of_the_model() -> None:
    ended = {int(part) for part in retention_sql.ENDED_OR_SOLVED.strip("()").split(",")}

    assert ended == {*Ticket.ENDED, Ticket.Status.SOLVED}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("own", "portal", "expires"),
    [(None, 0, False), (None, 30, True), (0, 30, False), (60, 30, False), (30, 0, True)],
)
def test_a_channel_has_its_own_limit_or_the_portals(
    chat: Conversation, settings: Any, own: int | None, portal: int, expires: bool
) -> None:
    settings.MESSAGE_RETENTION_DAYS = portal
    ApiChannel.objects.update(keep_messages_days=own)
    message = make_message(chat)
    run()

    assert is_expired(message) is expires


@pytest.mark.django_db
def test_files_may_be_deleted_before_their_messages(chat: Conversation, media: Path) -> None:
    ApiChannel.objects.update(keep_messages_days=None, keep_files_days=30)
    old, recent = make_file(make_message(chat)), make_file(make_message(chat, age=NEW))
    linked = Attachment.objects.create(message=old.message, url="https://files.example/1", name="linked")
    path = old.file.name
    run()
    old.refresh_from_db()
    linked.refresh_from_db()

    assert not default_storage.exists(path)
    assert default_storage.exists(recent.file.name)
    assert (old.file.name, old.name, old.state) == ("", "file.txt", "expired")
    assert (linked.url, linked.state) == ("", "expired")
    assert old.message.text == WORDS
    client = Client()
    client.force_login(vera())
    page = client.get(f"/chats/{chat.pk}/").content.decode()
    assert "удалён: истёк срок хранения" in page
    assert client.get(f"/files/{old.pk}/").status_code == 404
    answer = client.get(f"/api/v1/messages/{old.message_id}/", headers=token_of(vera())).json()
    assert [file["url"] for file in answer["files"]] == ["", ""]
    assert run() == 0


@pytest.mark.django_db
def test_old_files_of_other_channels_do_not_end_the_search(
    chat: Conversation, media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "FILE_BATCH", 1)
    ApiChannel.objects.filter(pk=chat.api_channel_id).update(keep_messages_days=None, keep_files_days=30)
    unlimited = ConversationFactory()
    kept = [make_file(make_message(unlimited)), make_file(make_message(unlimited))]
    old, recent = make_file(make_message(chat)), make_file(make_message(chat, age=NEW))

    assert run() == 1
    assert not default_storage.exists(old.file.name)
    assert all(default_storage.exists(file.file.name) for file in [*kept, recent])


@pytest.mark.django_db
def test_recent_files_are_not_read_again_in_each_run(
    chat: Conversation, media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "FILE_BATCH", 2)
    ApiChannel.objects.update(keep_messages_days=None, keep_files_days=30)
    for _number in range(6):
        make_file(make_message(chat, age=NEW))
    rows: list[Any] = []
    fetch = retention._fetch
    monkeypatch.setattr(retention, "_fetch", lambda *query: rows.extend(found := fetch(*query)) or found)

    assert run() == 0
    assert len(rows) == 2


@pytest.mark.django_db
def test_a_file_that_cannot_be_deleted_is_tried_again(
    chat: Conversation, media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck, other = make_message(chat), make_message(chat)
    file = make_file(stuck)
    delete = default_storage.delete

    def fail(name: str) -> None:
        if name == file.file.name:
            raise PermissionError(name)
        delete(name)

    with monkeypatch.context() as patch:
        patch.setattr(default_storage, "delete", fail)
        run()
    assert not is_expired(stuck) and is_expired(other)
    run()

    assert is_expired(stuck)
    assert not default_storage.exists(file.file.name)


@pytest.mark.django_db
def test_raw_requests_have_a_limit_of_their_own(channel: ApiChannel, settings: Any) -> None:
    settings.EVENT_RETENTION_DAYS = 30
    other, keeper = ApiChannelFactory(keep_events_days=10), ApiChannelFactory(keep_events_days=0)

    def make_event(api_channel: ApiChannel | None, days: int, state: str = "processed") -> WebhookEvent:
        at = ago(timedelta(days=days))
        return WebhookEvent.objects.create(
            api_channel=api_channel, endpoint="x", body=b"{}", received_at=at, state=state
        )

    kept = [
        make_event(channel, 20), make_event(other, 5), make_event(keeper, 400), make_event(None, 20),
        make_event(other, 20, "new"),
    ]  # fmt: skip
    for api_channel, days, state in ((channel, 40, "failed"), (other, 11, "processed"), (None, 40, "unrouted")):
        make_event(api_channel, days, state)

    housekeeping.prune_expired_rows()

    assert sorted(WebhookEvent.objects.values_list("pk", flat=True)) == sorted(event.pk for event in kept)


@pytest.mark.django_db
def test_a_thread_says_that_messages_were_deleted(chat: Conversation) -> None:
    old, recent = make_message(chat, text=f"{WORDS} old"), make_message(chat, text="recent", age=NEW)
    Message.objects.filter(pk=recent.pk).update(quoted=old)
    client, headers = Client(), token_of(vera())
    client.force_login(vera())
    run()

    page = client.get(f"/chats/{chat.pk}/").content.decode()
    assert "Сообщения старше 30 дней удалены." in page
    assert "recent" in page and "удалённое сообщение" in page
    assert page.count('data-key="m') == 1
    assert client.get(f"/chats/{chat.pk}/?at={old.pk}").status_code == 200
    assert f"/chats/{chat.pk}/" not in client.get(f"/chats/?q={WORDS}&list=none").content.decode()
    answer = client.get(f"/api/v1/messages/{old.pk}/", headers=headers).json()
    assert answer["text"] == "" and answer["expired_at"]

    Message.objects.filter(pk=recent.pk).update(created_at=ago(OLD))
    run()
    page = client.get(f"/chats/{chat.pk}/").content.decode()
    assert "Сообщения старше 30 дней удалены." in page
    assert 'data-key="m' not in page


@pytest.mark.django_db
def test_a_repeated_webhook_does_not_restore_a_message(chat: Conversation, channel: ApiChannel) -> None:
    ApiChannel.objects.update(keep_messages_days=1)
    make_message(chat, age=timedelta(days=2), external_id="wamid.again")
    run()

    assert ErasedMessage.objects.filter(api_channel=channel, fingerprint=fingerprint_erased("wamid.again")).exists()


@pytest.mark.django_db
def test_a_reaction_to_an_expired_message_still_opens_the_window(chat: Conversation, channel: ApiChannel) -> None:
    ApiChannel.objects.update(keep_messages_days=1)
    make_message(chat, age=timedelta(days=2), external_id="wamid.again")
    run()
    contact = ContactInfo(external_id=chat.contact.external_id)

    processing.apply_facts(channel, [MessageReceived(contact=contact, text=WORDS, external_id="wamid.again")])
    assert find_words() == []
    processing.apply_facts(channel, [ReactionChanged(contact=contact, target_id="wamid.again", emoji="👍")])

    assert ServiceWindow.objects.get().state == ServiceWindow.State.OPEN


@pytest.mark.django_db
def test_a_late_status_restores_no_words_of_an_expired_message(chat: Conversation, channel: ApiChannel) -> None:
    message = make_message(chat, outbound=True, status="sent", external_id="wamid.old")
    run()
    fact = StatusChanged(status="failed", external_id=f"wamid.{WORDS}", message_id=message.pk, code="1", title=WORDS)

    message_statuses.apply_statuses(channel, [fact])

    message.refresh_from_db()
    assert (message.status, message.external_id, message.details) == ("failed", "", {"code": "1"})
    assert find_words() == []


@pytest.mark.django_db
def test_a_shortened_limit_is_announced(chat: Conversation, channel: ApiChannel) -> None:
    for _number in range(3):
        make_message(chat)
    client = Client()
    client.force_login(vera())
    path = reverse("admin:channels_setup_apichannel_change", args=[channel.pk])
    form = client.get(path).context["adminform"].form
    values = {name: "" if value is None else value for name, value in form.initial.items() if value is not False}
    values["watched"] = [one.pk for one in channel.watched.all()]

    answer = client.post(path, values | {"keep_messages_days": "35"}, follow=True)
    assert "3 сообщения старше" in answer.content.decode()
    answer = client.post(path, values | {"keep_messages_days": "50"}, follow=True)
    assert "сообщения старше" not in answer.content.decode()
    channel.refresh_from_db()
    assert channel.keep_messages_days == 50


@pytest.fixture
def rival() -> Iterator[Any]:
    """Run a block in another thread with its own connection and an open transaction, until released."""
    started, released, threads = Event(), Event(), []

    def hold(block: Any) -> None:
        def work() -> None:
            try:
                with transaction.atomic():
                    block()
                    started.set()
                    released.wait(10)
            finally:
                connection.close()

        thread = Thread(target=work)
        thread.start()
        threads.append(thread)
        assert started.wait(10)

    yield hold
    released.set()
    for thread in threads:
        thread.join(10)


@pytest.mark.django_db(transaction=True)
def test_a_message_in_use_is_left_for_the_next_run(rival: Any) -> None:
    channel = ApiChannelFactory(keep_messages_days=30)
    chat = ConversationFactory(api_channel=channel)
    used, free = make_message(chat), make_message(chat)
    rival(lambda: Message.objects.select_for_update().get(pk=used.pk))

    assert retention.apply_retention() == 1
    assert not is_expired(used) and is_expired(free)


@pytest.mark.django_db(transaction=True)
def test_traffic_continues_while_messages_expire() -> None:
    """A client writes into the same chats all the time: nothing new is lost, nothing old is left."""
    channel = ApiChannelFactory(keep_messages_days=30)
    chats = [ConversationFactory(api_channel=channel) for _number in range(3)]
    for number in range(60):
        make_message(chats[number % 3])
    problems: list[str] = []

    def write() -> None:
        try:
            for number in range(60):
                with transaction.atomic():
                    chat = Conversation.objects.select_for_update().get(pk=chats[number % 3].pk)
                    MessageFactory(conversation=chat, text=f"new {number}")
                    chat.last_text, chat.last_message_at = f"new {number}", timezone.now()
                    chat.save(update_fields=["last_text", "last_message_at"])
        except Exception as problem:
            problems.append(repr(problem))
        finally:
            connection.close()

    thread = Thread(target=write)
    thread.start()
    total = 0
    while thread.is_alive() or total < 60:
        total += retention.apply_retention()
    thread.join()

    assert problems == []
    assert total == 60
    assert Message.objects.filter(expired_at=None, text__startswith="new").count() == 60
    assert sorted(Conversation.objects.values_list("last_text", flat=True)) == ["new 57", "new 58", "new 59"]


@pytest.mark.django_db
def test_the_steps_read_no_whole_table(channel: ApiChannel) -> None:
    values = {"channel": channel.pk, "before": ago(OLD), "limit": 500, "since": None, "last": 0}
    statements = (
        retention_sql.FIND_OLD_MESSAGES,
        retention_sql.FIND_OLD_DELIVERIES,
        retention_sql.FIND_OLD_FILES,
        retention_sql.FIND_OLD_EVENTS,
    )
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        for statement in statements:
            cursor.execute(f"EXPLAIN (FORMAT JSON) {statement}", values)
            assert "Seq Scan" not in json.dumps(cursor.fetchone()[0]), statement
