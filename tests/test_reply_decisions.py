"""Results of a reply in a closed window: a template, a reason, or a held reply."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from bridge import outcomes
from bridge.conversations import receiving
from bridge.models import Conversation, Delivery, Draft, HeldReply, Message
from bridge.outbox import dispatcher
from bridge.relay import held_replies, reply_submission
from channels_setup.models import ApiChannel
from channels_setup.providers.base import ContactInfo, MessageReceived
from templates_registry import lifecycle
from templates_registry.lifecycle import ChangeAuthor
from templates_registry.models import Status, Template, TemplateUse
from tests.factories import ApiChannelFactory, boris
from tests.receiver import Receiver
from tests.scenarios.sending import create_channel_to, move_windows_back, receive_text

pytestmark = pytest.mark.django_db

BODY = "Здравствуйте, {{1}}! Ваш заказ {{2}} готов к выдаче."
HAND = ChangeAuthor(source="manual")


@pytest.fixture
def channel(receiver: Receiver) -> ApiChannel:
    return create_channel_to(receiver, "/hook")


@pytest.fixture
def chat(channel: ApiChannel) -> Conversation:
    """Anna wrote the day before yesterday."""
    return anna_writes(channel, hours_ago=30)


def anna_writes(channel: ApiChannel, *, hours_ago: int = 0) -> Conversation:
    stored = receive_text(channel, name="Анна")
    move_windows_back(timedelta(hours=hours_ago))
    held_replies.release_held_replies([stored.conversation.pk])
    return stored.conversation


def approved(channel: ApiChannel, name: str = "order_ready", body: str = BODY, **more: Any) -> Template:
    components = [{"type": "BODY", "text": body}]
    return lifecycle.create(
        Template(
            api_channel=channel,
            name=name,
            language="ru",
            status=Status.APPROVED,
            components=components,
            variables=[
                {"key": "1", "label": "Имя", "example": "Анна"},
                {"key": "2", "label": "Заказ", "example": "№ 42"},
            ],
            **more,
        ),
        by=HAND,
    )


def says(chat: Conversation, text: str) -> reply_submission.SubmitResult:
    return reply_submission.submit_reply(
        conversation_id=chat.pk, text=text, author=boris(chat.chat_channel), keep_draft=True
    )


def test_pasted_template_text_goes_out_as_that_template(
    channel: ApiChannel, chat: Conversation, receiver: Receiver
) -> None:
    template = approved(channel)

    handed = says(chat, "  Здравствуйте, Анна!  Ваш заказ №\u00a042 готов к выдаче.\r\n")
    dispatcher.send_due_deliveries()

    assert handed.decision.outcome == "template"
    event = receiver.requests[0].json
    assert event["text"] == "Здравствуйте, Анна! Ваш заказ №\u00a042 готов к выдаче."
    assert event["template"] == {"name": "order_ready", "language": "ru", "parameters": ["Анна", "№\u00a042"]}
    message = Message.objects.get(direction="outbound")
    assert (message.kind, message.status) == ("template", "sent")
    template.refresh_from_db()
    assert template.times_used == 1
    assert TemplateUse.objects.get().last_used_at


def test_a_template_does_not_open_the_window(channel: ApiChannel, chat: Conversation) -> None:
    approved(channel)
    assert says(chat, "Здравствуйте, Анна! Ваш заказ 42 готов к выдаче.").message

    assert says(chat, "И ещё кое-что").decision.reason == "window_closed"


@pytest.mark.parametrize(
    ("text", "reason", "in_sentence"),
    [
        ("Здравствуйте, Анна! Ваш заказ 42 готов к выдача.", "template_near_miss", "выдач"),
        ("Здравствуйте, {{1}}! Ваш заказ 42 готов к выдаче.", "template_not_ready", ""),
        ("Здравствуйте, Анна! Ваш заказ 4\t2 готов к выдаче.", "template_not_ready", ""),
        ("Привет, как дела?", "window_closed", ""),
    ],
)
def test_what_is_no_template_comes_back_with_the_reason_and_stays_a_draft(
    channel: ApiChannel, chat: Conversation, text: str, reason: str, in_sentence: str
) -> None:
    approved(channel)

    handed = says(chat, text)

    assert handed.message is None
    assert handed.decision.reason == reason
    assert in_sentence in handed.decision.sentence
    draft = Draft.objects.get()
    assert (draft.text, draft.reason) == (text, reason)
    assert not Delivery.objects.filter(kind="message").exists()


def test_a_text_that_fits_two_templates_names_both(channel: ApiChannel, chat: Conversation) -> None:
    approved(channel, "order_ready", "Заказ {{1}} готов, ждём вас.")
    approved(channel, "order_any", "Заказ {{1}}, ждём вас.")

    handed = says(chat, "Заказ 42 готов, ждём вас.")

    assert handed.decision.reason == "template_ambiguous"
    assert handed.decision.recognition
    assert {row["name"] for row in handed.decision.recognition["candidates"]} == {"order_ready", "order_any"}


def test_in_an_open_window_template_text_is_sent_as_configured(channel: ApiChannel) -> None:
    approved(channel)
    chat = anna_writes(channel)
    text = "Здравствуйте, Анна! Ваш заказ 42 готов к выдаче."

    as_text = says(chat, text).message
    ApiChannel.objects.update(template_in_window=True)
    as_template = says(chat, text).message

    assert as_text and as_template
    assert (as_text.kind, as_template.kind) == ("text", "template")


def test_a_change_of_the_registry_is_followed_at_once(channel: ApiChannel, chat: Conversation) -> None:
    template = approved(channel)
    text = "Здравствуйте, Анна! Ваш заказ 42 готов к выдаче."
    assert says(chat, text).message

    lifecycle.change_status(template, Status.PAUSED, by=HAND)

    handed = says(chat, text)
    assert handed.message is None
    assert handed.decision.reason == "template_not_ready"


def test_what_waits_with_a_template_that_was_paused_stops_and_says_why(
    channel: ApiChannel, chat: Conversation, receiver: Receiver
) -> None:
    template = approved(channel)
    says(chat, "Здравствуйте, Анна! Ваш заказ 42 готов к выдаче.")
    lifecycle.change_status(template, Status.PAUSED, by=HAND)

    dispatcher.send_due_deliveries()

    message = Message.objects.get(direction="outbound")
    assert receiver.requests == []
    assert (message.status, message.reason) == ("failed", "template_not_sendable")
    assert "order_ready" in message.sentence


def test_a_former_approved_text_is_known_and_the_new_one_offered(channel: ApiChannel, chat: Conversation) -> None:
    template = approved(channel)
    definition = template.definition
    from dataclasses import replace

    newer = replace(definition, body="Здравствуйте, {{1}}! Ваш заказ {{2}} собран и ждёт вас.")
    lifecycle.change_text(template, newer, by=HAND)
    lifecycle.change_status(template, Status.APPROVED, by=HAND)

    handed = says(chat, "Здравствуйте, Анна! Ваш заказ 42 готов к выдаче.")

    assert handed.message is None
    assert handed.decision.recognition
    assert handed.decision.recognition["retired"] is True
    assert handed.decision.recognition["parameters"] == ["Анна", "42"]


def test_a_chosen_template_goes_out_with_its_values(channel: ApiChannel, chat: Conversation) -> None:
    template = approved(channel)
    author = boris(chat.chat_channel)

    def send(parameters: Any) -> reply_submission.SubmitResult:
        return reply_submission.submit_template_reply(
            conversation_id=chat.pk, template_id=template.pk, parameters=parameters, author=author
        )

    assert send(["[2] {1}", "42"]).message.text == "Здравствуйте, [2] {1}! Ваш заказ 42 готов к выдаче."  # type: ignore[union-attr]  # it went out
    assert send(["Анна"]).decision.reason == "template_values"
    assert send(["Анна", "a\nb"]).decision.reason == "template_values"
    assert send({"1": "Анна", "2": "7"}).decision.is_accepted


def test_another_channels_template_is_unknown(channel: ApiChannel, chat: Conversation) -> None:
    theirs = approved(ApiChannelFactory())

    handed = reply_submission.submit_template_reply(
        conversation_id=chat.pk, template_id=theirs.pk, parameters=["a", "b"], author=boris(chat.chat_channel)
    )

    assert handed.decision.reason == "template_unknown"


# --- held replies ----------------------------------------------------------------------------------------


def hold(chat: Conversation, text: str, template: Template) -> HeldReply:
    kept, _handed = held_replies.hold_reply(
        conversation_id=chat.pk, text=text, author=boris(chat.chat_channel), template_id=template.pk, parameters=[]
    )
    assert kept
    return kept


def test_a_held_reply_follows_when_the_client_writes(
    channel: ApiChannel, chat: Conversation, receiver: Receiver
) -> None:
    template = approved(channel, "we_answered", "Мы ответили на ваш вопрос. Напишите нам, и мы пришлём ответ.")
    hold(chat, "Первое", template)
    hold(chat, "Второе", template)
    dispatcher.send_due_deliveries()
    assert len(receiver.requests) == 2

    anna_writes(channel)
    dispatcher.send_due_deliveries()

    assert [request.json["text"] for request in receiver.requests[2:]] == ["Первое", "Второе"]
    assert set(HeldReply.objects.values_list("state", flat=True)) == {"released"}


def test_a_held_reply_is_dropped_with_a_notice_and_becomes_a_draft(channel: ApiChannel, chat: Conversation) -> None:
    template = approved(channel, "we_answered", "Мы ответили на ваш вопрос.")
    hold(chat, "Ответ", template)
    HeldReply.objects.update(drop_at=timezone.now())

    assert held_replies.drop_expired_replies() == 1
    assert held_replies.drop_expired_replies() == 0

    assert Message.objects.get(direction="notice").reason == "held_reply_dropped"
    assert Draft.objects.get().text == "Ответ"


def test_a_dropped_reply_leaves_a_newer_draft_and_shows_its_text(channel: ApiChannel, chat: Conversation) -> None:
    template = approved(channel, "we_answered", "Мы ответили на ваш вопрос.")
    hold(chat, "Ответ", template)
    reply_submission.save_draft(chat.pk, author=HeldReply.objects.get().author, text="Уже другое")
    HeldReply.objects.update(drop_at=timezone.now())

    held_replies.drop_expired_replies()

    notice = Message.objects.get(direction="notice")
    assert Draft.objects.get().text == "Уже другое"
    assert "Ответ" in outcomes.render_sentence(notice.reason, notice.details)


def test_a_reply_cannot_be_held_with_a_template_that_may_not_go_out(channel: ApiChannel, chat: Conversation) -> None:
    template = approved(channel, "we_answered", "Мы ответили на ваш вопрос.")
    lifecycle.change_status(template, Status.PAUSED, by=HAND)

    kept, handed = held_replies.hold_reply(
        conversation_id=chat.pk, text="Ответ", author=boris(chat.chat_channel), template_id=template.pk, parameters=[]
    )

    assert kept is None
    assert handed.decision.reason == "template_not_sendable"


def test_an_old_message_of_the_client_releases_nothing(channel: ApiChannel, chat: Conversation) -> None:
    template = approved(channel, "we_answered", "Мы ответили на ваш вопрос.")
    hold(chat, "Ответ", template)

    held_replies.release_held_replies([chat.pk])

    assert HeldReply.objects.get().state == "held"


def test_a_client_with_only_a_late_message_counts_as_having_written(channel: ApiChannel) -> None:
    chat_channel = channel.default_chat_channel
    assert chat_channel
    fact = MessageReceived(contact=ContactInfo(external_id="olga"), text="?", at=timezone.now() - timedelta(days=7))
    late = receiving.receive_messages(channel, [receiving.IncomingMessage(fact=fact, chat_channel=chat_channel)])[0]

    assert says(late.conversation, "Ответ").decision.reason == "window_closed"
