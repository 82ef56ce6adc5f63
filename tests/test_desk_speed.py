"""What makes the desk quick: prefetched chats, marks of drafts in the list, jumps to a date."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from bridge.desk.thread import messages
from bridge.models import Conversation, Draft, Message
from channels_setup.models import ApiChannel
from config.audit.models import AuditRecord
from tests.factories import boris, vera
from tests.pages import list_queries, page_html, signed_in
from tests.scenarios.sending import client_writes

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("in_english")]
AHEAD = {"HX-Request": "true", "HX-Target": "chat", "Okno-Prefetch": "1"}


@pytest.fixture
def chat(channel: ApiChannel) -> Conversation:
    return client_writes(channel, "Анна Соколова", "Где мой заказ?")


def test_a_prefetched_chat_is_not_seen(desk: Client, chat: Conversation) -> None:
    answer = desk.get(f"/chats/{chat.pk}/", headers=AHEAD)

    assert "Где мой заказ?" in answer.content.decode() and 'data-new="1"' in answer.content.decode()
    chat.refresh_from_db()
    assert chat.unread == 1


def test_a_chat_of_others_is_not_prefetched(client: Client, chat: Conversation) -> None:
    """A look at it goes on record, so it is loaded only when it is opened."""
    admin = signed_in(client, vera())

    assert admin.get(f"/chats/{chat.pk}/", headers=AHEAD).status_code == 204
    assert admin.get("/chats/999999/", headers=AHEAD).status_code == 204
    assert not AuditRecord.objects.filter(action="viewed").exists()


def test_the_list_marks_own_drafts_with_no_further_query(desk: Client, chat: Conversation) -> None:
    before = len(list_queries(desk, "/chats/"))
    Draft.objects.create(conversation=chat, user=vera(), text="Не моё")
    assert "Не моё" not in page_html(desk, "/chats/")
    Draft.objects.create(conversation=chat, user=boris(), text="Уже едет")

    assert "<strong>Draft:</strong> Уже едет" in page_html(desk, "/chats/")
    assert len(list_queries(desk, "/chats/")) == before


def test_a_date_leads_to_its_first_message(chat: Conversation) -> None:
    first = Message.objects.get(conversation=chat)
    Message.objects.filter(pk=first.pk).update(created_at=timezone.now() - timedelta(days=9))
    second = Message.objects.create(conversation=chat, api_channel=chat.api_channel, direction="inbound", text="Ау")
    today = timezone.localdate()

    def found(value: str) -> int | None:
        return messages.find_message_id(chat, value)

    assert found(f"d{today - timedelta(days=30)}") == first.pk
    assert found(f"d{today - timedelta(days=3)}") == found(f"d{today + timedelta(days=3)}") == second.pk
    assert found("d2026-02-31") is found("d") is None
