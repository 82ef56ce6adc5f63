"""Operators' reactions to clients' messages: submission, delivery, failures, and what the desk shows."""

import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from bridge.api.serializers import MessageSerializer
from bridge.conversations import message_statuses, reactions
from bridge.inbox import processing
from bridge.models import Delivery, Message, StrayStatus
from bridge.outbox import dispatcher, resend
from bridge.outbox.destinations.reactions import ReactionPolicy
from bridge.relay.reactions import is_emoji, submit_reaction
from channels_setup.codecs.facts import ContactInfo
from channels_setup.models import ApiChannel
from channels_setup.providers.base import ReactionChanged, StatusChanged
from channels_setup.providers.whatsapp_cloud.calls import build_number_path
from tests.cloud_accounts import cloud_account, cloud_channel
from tests.factories import ApiChannelFactory, ChatChannelFactory, boris, operator
from tests.pages import SCRIPT, page_html, signed_in
from tests.receiver import Receiver
from tests.scenarios.sending import make_deliveries_due, move_windows_back, receive_text

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("in_english")]

ANNA = "79215550101"


@pytest.fixture
def channel(receiver: Receiver) -> Iterator[ApiChannel]:
    """A WhatsApp Cloud channel whose provider is the receiver."""
    channel = cloud_channel(settings={"base_url": receiver.url("")})
    yield channel


@pytest.fixture
def question(channel: ApiChannel) -> Message:
    return receive_text(channel, "Где мой заказ?", who=ANNA, name="Анна", external_id="wamid.question").message


def react(message: Message, emoji: str, *, name: str = "boris") -> str:
    author = operator(name, message.conversation.chat_channel)
    return submit_reaction(message.conversation_id, message.pk, emoji, author=author)


def calls(receiver: Receiver) -> list[dict[str, Any]]:
    return [request.json for request in receiver.requests]


def answer(receiver: Receiver, **answer: Any) -> None:
    receiver.answer(f"/{build_number_path(cloud_account(), 'messages')}", **answer)


def accept(receiver: Receiver) -> None:
    answer(receiver, body={"messages": [{"id": "wamid.reaction"}]})


def shown(message: Message) -> tuple[list[dict[str, str]], str]:
    """Return the reactions and the state of ours."""
    message.refresh_from_db()
    own = reactions.OurReaction.of_message(message)
    return message.reactions, own.state if own else ""


def ours(emoji: str) -> list[dict[str, str]]:
    return [{"by": "us", "emoji": emoji}]


@pytest.mark.parametrize("text", ["👍", "❤️", "👍🏽", "1️⃣", "🇷🇺", "👨‍👩‍👧‍👦", "☺", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "‼️"])
def test_an_emoji_is_recognized(text: str) -> None:
    assert is_emoji(text)


@pytest.mark.parametrize("text", ["", "a", "да", "👍 ", "1", "12️⃣", "👍ok", ":)", "😀" * 17, "\ufe0f", "<b>"])
def test_other_text_is_no_emoji(text: str) -> None:
    assert not is_emoji(text)


def test_a_reaction_is_sent_changed_and_removed(question: Message, receiver: Receiver) -> None:
    accept(receiver)
    for emoji in ("👍", "❤️", ""):
        assert react(question, emoji) == ""
        assert shown(question) == (ours(emoji) if emoji else [], "pending")
        dispatcher.send_due_deliveries()
        assert shown(question) == (ours(emoji) if emoji else [], "sent")

    bodies = [call["reaction"] for call in calls(receiver)]
    assert bodies == [{"message_id": "wamid.question", "emoji": emoji} for emoji in ("👍", "❤️", "")]
    assert {call["type"] for call in calls(receiver)} == {"reaction"}
    assert {call["to"] for call in calls(receiver)} == {f"+{ANNA}"}
    assert not Message.objects.filter(direction="outbound").exists()


def test_the_api_says_what_the_provider_has_accepted(question: Message, receiver: Receiver) -> None:
    def read() -> tuple[Any, Any]:
        question.refresh_from_db()
        values = MessageSerializer(question).data
        return values["reactions"], values["pending_reaction"]

    accept(receiver)
    react(question, "👍")
    assert read() == ([], {"emoji": "👍", "status": "pending"})
    dispatcher.send_due_deliveries()
    assert read() == (ours("👍"), None)
    react(question, "")
    assert read() == (ours("👍"), {"emoji": "", "status": "pending"})
    dispatcher.send_due_deliveries()
    assert read() == ([], None)


def test_the_same_reaction_twice_is_sent_once(question: Message, receiver: Receiver) -> None:
    accept(receiver)
    assert [react(question, "👍"), react(question, "👍")] == ["", ""]
    dispatcher.send_due_deliveries()
    react(question, "👍")

    assert Delivery.objects.filter(kind="reaction").count() == 1 and len(receiver.requests) == 1


def test_the_newest_reaction_does_not_wait_for_an_older_one_that_fails(question: Message, receiver: Receiver) -> None:
    answer(receiver, status=503, times=1)
    accept(receiver)
    react(question, "👍")
    dispatcher.send_due_deliveries()  # fails for now
    react(question, "❤️", name="olga")
    assert shown(question) == (ours("❤️"), "pending")
    dispatcher.send_due_deliveries()

    assert [call["reaction"]["emoji"] for call in calls(receiver)] == ["👍", "❤️"]
    assert shown(question) == (ours("❤️"), "sent")
    replaced = Delivery.objects.get(state="cancelled")
    assert (replaced.reason, resend.resend_deliveries(replaced.pk)) == ("reaction_replaced", 0)


@pytest.mark.parametrize("crashed", [False, True])
def test_a_reaction_replaced_during_its_call_is_not_attempted_again(
    question: Message, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, crashed: bool
) -> None:
    answer(receiver, status=503, times=0 if crashed else 1)
    accept(receiver)
    react(question, "👍")
    older = Delivery.objects.get()
    if crashed:
        Delivery.objects.update(state="sending", attempts=1, lease_token=uuid.uuid4(), next_attempt_at=timezone.now())
        react(question, "❤️")
    else:
        start = ReactionPolicy.start

        def replace_and_start(policy: ReactionPolicy, admitted: Any) -> Any:
            if Delivery.objects.count() == 1:
                react(question, "❤️")
            return start(policy, admitted)

        monkeypatch.setattr(ReactionPolicy, "start", replace_and_start)
    for _ in range(3):
        dispatcher.send_due_deliveries()

    older.refresh_from_db()
    assert (older.state, older.reason) == ("cancelled", "reaction_replaced")
    assert [call["reaction"]["emoji"] for call in calls(receiver)] == ([] if crashed else ["👍"]) + ["❤️"]
    assert shown(question) == (ours("❤️"), "sent")


def test_a_replaced_reaction_that_arrived_after_all_is_shown(
    channel: ApiChannel, question: Message, receiver: Receiver
) -> None:
    answer(receiver, status=502, body=b"<html>", times=1)  # outcome unknown
    answer(receiver, status=400, body={"error": {"code": 131009, "message": "No"}}, times=1)
    react(question, "👍")
    dispatcher.send_due_deliveries()
    react(question, "❤️")
    key = Delivery.objects.earliest("pk").key
    message_statuses.apply_statuses(channel, [StatusChanged(status="sent", external_id="wamid.reaction", key=key)])
    dispatcher.send_due_deliveries()

    assert shown(question) == (ours("👍"), "failed")


def test_a_reaction_does_not_wait_for_one_to_another_message(
    channel: ApiChannel, question: Message, receiver: Receiver
) -> None:
    other = receive_text(channel, "?", who=ANNA, external_id="wamid.other").message
    answer(receiver, status=503, times=1)
    accept(receiver)
    react(question, "👍")
    dispatcher.send_due_deliveries()  # fails for now
    react(other, "❤️")
    dispatcher.send_due_deliveries()

    assert [call["reaction"]["emoji"] for call in calls(receiver)] == ["👍", "❤️"]
    assert (shown(question)[1], shown(other)[1]) == ("pending", "sent")
    make_deliveries_due()
    dispatcher.send_due_deliveries()
    assert shown(question) == (ours("👍"), "sent")


def test_an_unknown_outcome_is_repeated_because_a_reaction_may_be(question: Message, receiver: Receiver) -> None:
    answer(receiver, status=502, body=b"<html>", times=1)
    accept(receiver)
    react(question, "👍")
    dispatcher.send_due_deliveries()
    make_deliveries_due()
    dispatcher.send_due_deliveries()

    assert len(receiver.requests) == 2 and shown(question) == (ours("👍"), "sent")


def test_a_refused_reaction_is_told_and_can_be_tried_again(question: Message, receiver: Receiver) -> None:
    accept(receiver)
    react(question, "👍")
    dispatcher.send_due_deliveries()
    error = {"error": {"code": 131009, "message": "(#131009) Parameter value is not valid"}}
    answer(receiver, status=400, body=error, times=1)
    react(question, "❤️")
    dispatcher.send_due_deliveries()
    desk = signed_in(Client(), boris(question.conversation.chat_channel))

    assert shown(question) == (ours("👍"), "failed")  # what the client sees
    html = page_html(desk, f"/chats/{question.conversation_id}/")
    assert "Reaction ❤️ not sent." in html and html.count("/reaction/") >= 2

    response = desk.post(f"/chats/{question.conversation_id}/messages/{question.pk}/reaction/", {"emoji": "👍"})
    assert response.status_code == 302 and shown(question)[1] == ""  # dismissed: nothing is sent
    assert "Reaction ❤️" not in page_html(desk, f"/chats/{question.conversation_id}/")
    react(question, "❤️")
    dispatcher.send_due_deliveries()
    assert shown(question) == (ours("❤️"), "sent")


def test_an_older_failed_reaction_is_not_resent_over_a_newer_one(question: Message, receiver: Receiver) -> None:
    answer(receiver, status=400, body={"error": {"code": 131009, "message": "No"}}, times=1)
    accept(receiver)
    react(question, "👍")
    dispatcher.send_due_deliveries()
    failed = Delivery.objects.get()
    assert resend.resend_deliveries(failed.pk) == 1 and shown(question) == (ours("👍"), "pending")
    Delivery.objects.filter(pk=failed.pk).update(state="dead")
    react(question, "❤️")

    assert resend.resend_deliveries(failed.pk) == 0


def test_a_reaction_is_refused_with_a_reason(channel: ApiChannel, question: Message) -> None:
    other = receive_text(channel, "?", who="79215550102", external_id="wamid.other").message
    assert submit_reaction(question.conversation_id, other.pk, "👍", author=boris()) == "nothing_to_react_to"
    assert react(question, "ok") == "not_an_emoji"
    Message.objects.filter(pk=question.pk).update(shown={"revoked_at": "2026-11-01"})
    assert react(question, "👍") == "nothing_to_react_to"
    Message.objects.filter(pk=question.pk).update(shown={}, created_at=F("created_at") - timedelta(days=31))
    assert react(question, "👍") == "nothing_to_react_to"
    move_windows_back(timedelta(days=2))
    assert react(question, "👍") == "window_closed_for_reactions"
    assert not Delivery.objects.exists() and Message.objects.get(pk=question.pk).reactions == []


def test_a_provider_without_reactions_offers_none(client: Client) -> None:
    message = receive_text(ApiChannelFactory(kind="acebot"), "?", external_id="m1").message
    desk = signed_in(client, boris(message.conversation.chat_channel))

    assert "data-react=" not in page_html(desk, f"/chats/{message.conversation_id}/")
    assert react(message, "👍") == "reactions_not_supported"
    response = desk.post(
        f"/chats/{message.conversation_id}/messages/{message.pk}/reaction/", {"emoji": "👍"}, headers=SCRIPT
    )
    assert response.status_code == 422 and response.json()["sentence"] == "This provider cannot send reactions."


def test_a_reaction_that_waits_is_canceled_when_the_window_closes(question: Message, receiver: Receiver) -> None:
    react(question, "👍")
    move_windows_back(timedelta(days=2))
    dispatcher.send_due_deliveries()

    assert receiver.requests == [] and Delivery.objects.get().state == "cancelled"
    assert shown(question) == ([], "failed")
    desk = signed_in(Client(), boris(question.conversation.chat_channel))
    url = f"/chats/{question.conversation_id}/"
    assert "Reaction 👍 not sent. The 24-hour window is closed. You can react again" in page_html(desk, url)
    desk.post(f"{url}messages/{question.pk}/reaction/", {"emoji": ""})  # Dismiss
    assert "Reaction 👍 not sent." not in page_html(desk, url)


def test_statuses_of_a_reaction_need_no_message(channel: ApiChannel, question: Message, receiver: Receiver) -> None:
    accept(receiver)
    react(question, "👍")
    dispatcher.send_due_deliveries()
    key = Delivery.objects.get().key
    fact = StatusChanged(status="sent", external_id="wamid.reaction", key=key)
    [target] = message_statuses.apply_statuses(channel, [fact])

    assert target and list(target.contact_ids) == [question.conversation.contact_id, None]
    assert not StrayStatus.objects.exists() and shown(question) == (ours("👍"), "sent")
    failed = StatusChanged(status="failed", external_id="wamid.reaction", key=key, code="131047", title="Re-engagement")
    message_statuses.apply_statuses(channel, [failed])
    assert shown(question) == ([], "failed")


def test_a_reaction_that_fails_late_gives_way_to_the_earlier_one(
    channel: ApiChannel, question: Message, receiver: Receiver
) -> None:
    accept(receiver)
    for emoji in ("👍", "❤️"):
        react(question, emoji)
        dispatcher.send_due_deliveries()
    key = Delivery.objects.latest("pk").key
    failed = StatusChanged(status="failed", external_id="wamid.reaction", key=key, code="131047", title="Re-engagement")
    message_statuses.apply_statuses(channel, [failed])

    assert shown(question) == (ours("👍"), "failed")


def test_statuses_of_reactions_cost_a_constant_number_of_queries(
    channel: ApiChannel, question: Message, receiver: Receiver
) -> None:
    accept(receiver)
    other = receive_text(channel, "?", who="79215550102", external_id="wamid.other").message
    for message in (question, other):
        react(message, "👍")
    dispatcher.send_due_deliveries()
    facts = [
        StatusChanged(status=status, external_id=f"wamid.{row.pk}", key=row.key)
        for row in Delivery.objects.all()
        for status in ("sent", "delivered")
    ]
    with CaptureQueriesContext(connection) as one:
        message_statuses.apply_statuses(channel, facts[:1])
    with CaptureQueriesContext(connection) as four:
        message_statuses.apply_statuses(channel, facts)

    assert len(four) == len(one)


def test_the_phone_app_replaces_our_reaction(channel: ApiChannel, question: Message, receiver: Receiver) -> None:
    accept(receiver)
    react(question, "👍")
    dispatcher.send_due_deliveries()
    from_phone = ReactionChanged(
        contact=ContactInfo(external_id=ANNA), target_id="wamid.question", emoji="🙏", by_us=True
    )
    processing.apply_facts(channel, [from_phone])

    assert shown(question)[0] == ours("🙏")
    desk = signed_in(Client(), boris(question.conversation.chat_channel))
    html = page_html(desk, f"/chats/{question.conversation_id}/")
    chip = html[html.index('class="ours') : html.index("</ul>", html.index('class="ours'))]
    assert "🙏" in chip and "from us" in chip and "Борис" not in chip
    late = StatusChanged(status="delivered", external_id="wamid.reaction", key=Delivery.objects.get().key)
    message_statuses.apply_statuses(channel, [late])
    assert shown(question) == (ours("🙏"), "")


def test_a_reaction_on_its_way_follows_one_from_the_phone_app(
    channel: ApiChannel, question: Message, receiver: Receiver
) -> None:
    react(question, "👍")
    from_phone = ReactionChanged(
        contact=ContactInfo(external_id=ANNA), target_id="wamid.question", emoji="🙏", by_us=True
    )
    processing.apply_facts(channel, [from_phone])
    assert shown(question) == (ours("👍"), "pending")

    answer(receiver, status=400, body={"error": {"code": 131009, "message": "No"}}, times=1)
    dispatcher.send_due_deliveries()
    assert shown(question) == (ours("🙏"), "failed")


def test_the_chat_says_who_reacted_and_whether_it_is_sent(question: Message, receiver: Receiver) -> None:
    accept(receiver)
    desk = signed_in(Client(), boris(question.conversation.chat_channel))
    url = f"/chats/{question.conversation_id}/"
    response = desk.post(f"{url}messages/{question.pk}/reaction/", {"emoji": "👍"}, headers=SCRIPT)
    assert response.status_code == 204

    before = page_html(desk, url)
    assert '<li class="ours pending"' in before and "being sent" in before
    dispatcher.send_due_deliveries()
    after = page_html(desk, url)
    assert '<li class="ours "' in after and "being sent" not in after
    assert 'class="reactor"' in after


def test_an_external_helpdesk_gets_a_note(receiver: Receiver) -> None:
    chat_channel = ChatChannelFactory(kind="usedesk")
    channel = cloud_channel(settings={"base_url": receiver.url("")}, watched=chat_channel)
    message = receive_text(channel, "Спасибо!", who=ANNA, external_id="wamid.thanks").message
    react(message, "🙏", name="olga")

    note = Delivery.objects.get(kind="note")
    assert "olga" in note.payload["text"] and "🙏" in note.payload["text"] and "Спасибо!" in note.payload["text"]
