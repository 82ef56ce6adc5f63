"""One chat as it is read: earlier requests folded, opened at a message, and how each message went."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from bridge import outcomes
from bridge.conversations import tickets
from bridge.desk.thread import delivery_trail, messages
from bridge.models import Attempt, Conversation, ConversationActivity, Delivery, Message, Ticket
from bridge.notices import create_notice
from bridge.relay import reply_submission
from channels_setup.models import ApiChannel
from tests.factories import ApiChannelFactory, TemplateFactory, boris
from tests.pages import SCRIPT
from tests.scenarios.sending import receive_text

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("in_english")]


def anna_writes(channel: ApiChannel, text: str = "Где заказ?", *, written_ago: timedelta | None = None) -> Message:
    at = timezone.now() - written_ago if written_ago is not None else None
    return receive_text(channel, text, name="Анна", at=at).message


def close_live_request() -> None:
    tickets.set_ticket_status(Ticket.objects.latest("pk").pk, status=Ticket.Status.CLOSED)


def lines(chat: Conversation, **asked: Any) -> list[tuple[str, bool]]:
    """Key and whether it is folded away, of each line."""
    found = messages.build_thread_page(
        chat,
        tickets=messages.list_requests(chat),
        before=asked.pop("before", None),
        may_write=True,
        now=timezone.now(),
        **asked,
    )
    return [(item.key, item.is_folded and item.fold is None) for item in found.items]


# --- requests folded -------------------------------------------------------------------------------------


def test_an_earlier_request_is_folded_and_the_last_one_is_not(channel: ApiChannel) -> None:
    first = anna_writes(channel, "Первый вопрос")
    close_live_request()
    second = anna_writes(channel, "Второй вопрос")
    day = f"day-{timezone.localtime():%Y-%m-%d}"

    found = lines(second.conversation)

    assert found == [
        (f"fold-{first.ticket_id}", False),
        (f"{day}-{first.ticket_id}", True),
        (f"m{first.pk}", True),
        (f"a{ConversationActivity.objects.get().pk}", True),  # it was closed
        (f"{day}-{second.ticket_id}", False),
        (f"start-{second.ticket_id}", False),
        (f"m{second.pk}", False),
    ]
    close_live_request()
    assert (f"m{second.pk}", False) in lines(second.conversation)


def test_a_page_opened_at_an_earlier_message_shows_its_request(channel: ApiChannel) -> None:
    first = anna_writes(channel)
    close_live_request()
    second = anna_writes(channel)

    found = dict(lines(second.conversation, at=first.pk))

    assert not found[f"m{first.pk}"] and f"fold-{first.ticket_id}" in found


@pytest.mark.exhaustive
def test_a_page_opens_at_a_much_earlier_message(desk: Client, channel: ApiChannel) -> None:
    first = anna_writes(channel, "Самое начало")
    chat = first.conversation
    for number in range(80):
        reply_submission.submit_reply(conversation_id=chat.pk, text=f"Ответ {number}.", author=boris())

    by_message = desk.get(f"/chats/{chat.pk}/?at={first.pk}").content.decode()
    by_request = desk.get(f"/chats/{chat.pk}/?at=r{first.ticket_id}").content.decode()

    for html in (by_message, by_request):
        assert f'data-at="m{first.pk}"' in html and f'id="m{first.pk}"' in html and "data-not-newest" in html
        assert "Ответ 18." in html and "Ответ 40." not in html


def test_the_pages_after_a_message_lead_to_the_newest(
    desk: Client, channel: ApiChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "PAGE", 4)
    sent = [anna_writes(channel, f"Вопрос {number}.") for number in range(10)]
    address, shown = f"/chats/{sent[0].conversation_id}/?after={sent[1].pk}", []

    for _page in range(2):
        html = desk.get(address).content.decode()
        shown.append([int(number) for number in re.findall(r"Вопрос (\d)\.</div>", html)])
        later = re.search(r'id="later" href="([^"]+)"', html)
        address = later[1] if later else ""

    assert shown == [[2, 3, 4, 5], [6, 7, 8, 9]] and not address


@pytest.mark.parametrize("asked", ["", "r", "x", "9999999", "r9999999", "r-1", "1" * 30, "٣"])
def test_an_unknown_position_opens_the_newest_page(desk: Client, channel: ApiChannel, asked: str) -> None:
    chat = anna_writes(channel).conversation

    html = desk.get(f"/chats/{chat.pk}/", {"at": asked}).content.decode()

    assert "Где заказ?" in html and "data-at=" not in html


def test_a_message_of_another_chat_is_not_a_position_in_this_one(channel: ApiChannel) -> None:
    chat = anna_writes(channel).conversation
    elsewhere = anna_writes(ApiChannelFactory())

    assert messages.find_message_id(chat, str(elsewhere.pk)) is None
    assert messages.find_message_id(chat, f"r{elsewhere.ticket_id}") is None


# --- how a message went ----------------------------------------------------------------------------------


def trail_text(message: Message) -> str:
    found = delivery_trail.build_trail(message, now=timezone.now())
    return " ".join([*found.reasons, *found.outcome, *(f"{one.name}: {one.sentence}" for one in found.subscribers)])


def test_the_trail_shows_the_effect_of_a_message_on_the_window(channel: ApiChannel) -> None:
    opened = anna_writes(channel, written_ago=timedelta(minutes=2))
    kept = anna_writes(channel, "И ещё")
    late = anna_writes(channel, "Поздно", written_ago=timedelta(hours=30))

    assert "by the provider's clock" in trail_text(
        opened
    ) and "The message opened the window until tomorrow" in trail_text(opened)
    assert "did not say when it was written" in trail_text(
        kept
    ) and "The message extended the window until" in trail_text(kept)
    assert "it did not open a window" in trail_text(late)


def test_subscribers_get_events_and_the_trail_shows_delivery(channel: ApiChannel) -> None:
    watcher = ApiChannelFactory(
        name="CRM", kind="acebot", watched=channel.default_chat_channel, redirect_url="https://crm.example/hook"
    )
    message = anna_writes(channel)
    event = Delivery.objects.get(api_channel=watcher)
    assert "CRM: waiting in the queue" in trail_text(message)

    Attempt.objects.create(
        delivery=event, number=1, started_at=timezone.now(), duration_ms=1200, http_status=503, verdict="retry"
    )
    Delivery.objects.update(attempts=1, next_attempt_at=timezone.now() + timedelta(minutes=3, seconds=30))
    assert "CRM: not delivered yet; next attempt in 3\u00a0min" in trail_text(message)
    Delivery.objects.update(state=Delivery.State.DELIVERED, finished_at=timezone.now())

    trail = delivery_trail.build_trail(message, now=timezone.now())
    assert [step.state for step in trail.steps] == ["passed"] * 4
    assert (
        "CRM: delivered, today" in trail_text(message)
        and "response 503 in 1.2" in trail.subscribers[0].attempts[0].sentence
    )


def test_the_trail_shows_how_a_template_was_chosen_and_its_values(channel: ApiChannel) -> None:
    chat = anna_writes(channel, written_ago=timedelta(hours=30)).conversation
    template = TemplateFactory(api_channel=channel, name="order_ready")

    pasted = reply_submission.submit_reply(
        conversation_id=chat.pk, text="Здравствуйте, Анна! Ваш заказ № 42 готов к выдаче.", author=boris()
    ).message
    picked = reply_submission.submit_template_reply(
        conversation_id=chat.pk, template_id=template.pk, parameters=["Анна", "№ 43"], author=boris()
    ).message

    assert pasted and "recognized as the template “order_ready” (ru). Values: 1: Анна, 2: № 42." in trail_text(pasted)
    assert picked and "The template “order_ready” (ru) was chosen. Values: 1: Анна, 2: № 43." in trail_text(picked)


def test_the_trail_opens_for_both_sides_but_not_for_notices(desk: Client, channel: ApiChannel) -> None:
    message = anna_writes(channel)
    notice = create_notice(message.conversation, "held_reply_dropped")
    address = f"/chats/{message.conversation_id}/messages/{{}}/trail/"

    piece = desk.get(address.format(message.pk), headers=SCRIPT).content.decode()

    assert "The message opened the window until" in piece
    assert re.findall(r'<li class="(\w+)"', piece) == ["passed"] * 3
    assert desk.get(address.format(notice.pk)).status_code == 404


# --- what a message is besides its text ------------------------------------------------------------------


def test_quote_reactions_and_edit_are_shown_and_polled(desk: Client, channel: ApiChannel) -> None:
    asked = anna_writes(channel, "Есть 38-й размер?")
    chat = asked.conversation
    answer = reply_submission.submit_reply(conversation_id=chat.pk, text="Есть", author=boris()).message
    assert answer
    known = desk.get(f"/chats/updates/?chat={chat.pk}").json()["thread"]["version"]

    Message.objects.filter(pk=answer.pk).update(quoted=asked, reactions=[{"by": "client", "emoji": "👍"}])
    Message.objects.filter(pk=asked.pk).update(
        text="Есть 39-й размер?", shown={"former": ["Есть 38-й размер?"], "edited_at": timezone.now().isoformat()}
    )

    html = desk.get(f"/chats/updates/?chat={chat.pk}&thread={known}").json()["thread"]["messages"]
    assert f'data-at="m{asked.pk}"' in html and "👍" in html
    assert "Edited, today" in html and "Previous version" in html and "39-й" in html


def test_location_cards_order_and_deletion_are_shown(desk: Client, channel: ApiChannel) -> None:
    shown: list[dict[str, Any]] = [
        {"what": "location", "name": "Склад", "address": "Лиговский, 50", "map": "https://maps.example/?q=1,2"},
        {"what": "contacts", "cards": [{"name": "Пётр", "phones": ["+7 921"], "emails": [], "org": "Курьеры"}]},
        {"what": "order", "lines": [{"product": "Сапоги", "quantity": 2, "price": 4500, "currency": "RUB"}]},
        {"revoked_at": timezone.now().isoformat(), "forwarded": {"often": True}},
    ]
    for number, one in enumerate(shown):
        Message.objects.filter(pk=anna_writes(channel, f"Слова {number}").pk).update(shown=one)

    html = desk.get(f"/chats/{Conversation.objects.get().pk}/").content.decode()

    assert 'href="https://maps.example/?q=1,2"' in html and "Лиговский, 50" in html
    assert (
        "Пётр" in html and "Курьеры" in html and "Сапоги × 2" in html and "4,500\xa0₽" in html and "9,000\xa0₽" in html
    )
    assert "Deleted, today" in html and 'class="text revoked"' in html and "Forwarded many times" in html


@pytest.mark.parametrize(
    "shown",
    [
        {"what": "location", "map": "javascript:alert(1)", "name": {"a": 1}},
        {"what": "contacts", "cards": "x"},
        {"what": "contacts", "cards": [1, None, {"phones": "x", "name": ["y"]}]},
        {"what": "order", "lines": {"a": 1}},
        {"what": "flow", "fields": [["a"], "b", [1, [2]]]},
        {"edited_at": "yesterday", "former": [None, {"a": 1}], "revoked_at": 7},
        {"ad": "x", "forwarded": [], "what": ["location"]},
    ],
)
def test_unexpected_data_breaks_no_page(desk: Client, channel: ApiChannel, shown: dict[str, Any]) -> None:
    message = anna_writes(channel, "Слова")
    Message.objects.filter(pk=message.pk).update(shown=shown, reactions=[1, {"emoji": {"a": 1}}])

    answer = desk.get(f"/chats/{message.conversation_id}/")

    assert answer.status_code == 200 and "javascript:" not in answer.content.decode()


def test_a_missing_file_says_why(desk: Client, channel: ApiChannel) -> None:
    message = anna_writes(channel)
    message.attachments.create(name="голос.ogg", state="waiting")
    message.attachments.create(name="чек.pdf", state="failed", error="rejected")

    html = desk.get(f"/chats/{message.conversation_id}/").content.decode()

    assert (
        "downloading from the provider" in html and "чек.pdf" in html and outcomes.render_sentence("rejected") in html
    )
