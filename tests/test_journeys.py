"""The main task end to end: real HTTP, a real worker, and a real receiving server.

Anna writes, Boris answers. Read this file first: each test is one promise of the portal.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
import requests
from django.utils import timezone

from bridge.maintenance import housekeeping
from bridge.models import Conversation, Delivery, Draft, Message, Ticket
from bridge.relay import reply_submission
from bridge.tasks import send_due_deliveries
from bridge.uapi.errors import NOT_SENT
from channels_setup.models import ApiChannel
from tests.factories import ApiChannelFactory, TemplateFactory, boris
from tests.processes import eventually
from tests.receiver import Receiver
from tests.scenarios.sending import move_windows_back
from tests.worker import Worker

pytestmark = pytest.mark.django_db(transaction=True)


@dataclass
class Shop:
    """A company with one WhatsApp account, as its provider and its operator see it."""

    address: str
    channel: ApiChannel
    operator: Any

    def anna_writes(self, text: str, **more: Any) -> dict[str, Any]:
        secret = self.channel.current_secret()
        chat_channel = self.channel.default_chat_channel
        assert secret and chat_channel
        body = {
            "api_token": secret.reveal(),
            "company_id": chat_channel.company_id,
            "channel_id": chat_channel.pk,
            "message": {"text": text, "from": {"client_id": "79211234567", "name": "Анна"}} | more,
        }
        answer = requests.post(f"{self.address}/uapi/chat/addMessage", json=body, timeout=10)
        assert answer.status_code == 200
        message: dict[str, Any] = answer.json()
        return message

    def boris_answers(self, chat_id: int, text: str) -> dict[str, Any]:
        secret = self.channel.current_secret()
        assert secret
        body = {"api_token": secret.reveal(), "chat_id": chat_id, "user_id": self.operator.pk, "text": text}
        reply: dict[str, Any] = requests.post(f"{self.address}/uapi/chat/sendMessage", json=body, timeout=10).json()
        return reply

    def provider_reports(self, **status: Any) -> int:
        return requests.post(self.address + self.channel.webhook_path, json=status, timeout=10).status_code


@pytest.fixture
def shop(live_server: Any, receiver: Receiver, worker: Worker) -> Shop:
    channel = ApiChannelFactory(kind="acebot", redirect_url=receiver.url("/hook"), secret=True)
    return Shop(address=live_server.url, channel=channel, operator=boris(*channel.watched.all()))


def answers(receiver: Receiver, count: int) -> list[str]:
    """Wait for ``count`` operator messages to reach the provider. Return their texts."""
    requests = receiver.wait_for(count, where=lambda request: request.json.get("from") == "user")
    return [request.json["text"] for request in requests]


def status_of(message_id: int) -> str:
    return Message.objects.get(pk=message_id).status


def a_day_later(chat_id: int) -> None:
    move_windows_back(timedelta(hours=25), conversation=chat_id)


def test_a_clients_message_appears_in_chats_and_in_requests(shop: Shop, client: Any) -> None:
    message = shop.anna_writes("Здравствуйте! Заказ 42 приехал?")

    client.force_login(shop.operator)
    chats, thread, tickets = (
        client.get(path).content.decode() for path in ("/chats/", f"/chats/{message['chat_id']}/", "/requests/")
    )
    assert "Заказ 42 приехал?" in chats
    assert "Заказ 42 приехал?" in thread
    assert "Заказ 42 приехал?" in tickets


def test_a_reply_in_the_window_reaches_the_client(shop: Shop, receiver: Receiver) -> None:
    chat_id = shop.anna_writes("Заказ приехал?")["chat_id"]

    reply = shop.boris_answers(chat_id, "Да, приезжайте 🙌")

    assert reply["status"] == "success"
    assert answers(receiver, 1) == ["Да, приезжайте 🙌"]
    eventually(lambda: status_of(reply["message_id"]) == "sent")


def test_statuses_follow_the_providers_reports(shop: Shop, receiver: Receiver) -> None:
    chat_id = shop.anna_writes("?")["chat_id"]
    message_id = shop.boris_answers(chat_id, "!")["message_id"]
    answers(receiver, 1)
    eventually(lambda: status_of(message_id) == "sent")

    assert shop.provider_reports(message_id=message_id, status="delivered") == 200
    eventually(lambda: status_of(message_id) == "delivered")
    shop.provider_reports(message_id=message_id, status="read")
    eventually(lambda: status_of(message_id) == "read")


def test_delivered_after_read_stays_read(shop: Shop, receiver: Receiver, worker: Worker) -> None:
    chat_id = shop.anna_writes("?")["chat_id"]
    message_id = shop.boris_answers(chat_id, "!")["message_id"]
    answers(receiver, 1)

    shop.provider_reports(message_id=message_id, status="read")
    eventually(lambda: status_of(message_id) == "read")
    shop.provider_reports(message_id=message_id, status="delivered")
    worker.settle()

    assert status_of(message_id) == "read"


def test_after_the_window_a_free_text_is_refused_with_the_reason(
    shop: Shop, receiver: Receiver, worker: Worker
) -> None:
    chat_id = shop.anna_writes("?")["chat_id"]
    receiver.wait_for(1)
    a_day_later(chat_id)

    reply = shop.boris_answers(chat_id, "Простите, что так долго")

    assert reply["reason"] == "window_closed"
    assert reply["error"]
    worker.settle()
    assert all(request.json["from"] == "client" for request in receiver.requests)


def test_the_desk_keeps_a_refused_reply_as_a_draft(shop: Shop, client: Any) -> None:
    chat_id = shop.anna_writes("?")["chat_id"]
    a_day_later(chat_id)

    reply_submission.submit_reply(
        conversation_id=chat_id, text="Простите, что так долго", author=shop.operator, keep_draft=True
    )

    draft = Draft.objects.get()
    assert (draft.text, draft.reason) == ("Простите, что так долго", "window_closed")
    client.force_login(shop.operator)
    assert "Простите, что так долго" in client.get(f"/chats/{chat_id}/").content.decode()


TEMPLATE_TEXT = "Здравствуйте, Анна! Ваш заказ № 42 готов к выдаче."
TEMPLATE_EVENT = {"name": "order_ready", "language": "ru", "parameters": ["Анна", "№ 42"]}


def test_a_pasted_template_text_from_a_program_is_sent_as_the_template(shop: Shop, receiver: Receiver) -> None:
    TemplateFactory(api_channel=shop.channel, name="order_ready")
    chat_id = shop.anna_writes("?")["chat_id"]
    a_day_later(chat_id)

    reply = shop.boris_answers(chat_id, f"  {TEMPLATE_TEXT}\r\n")

    assert reply["status"] == "success"
    assert answers(receiver, 1) == [TEMPLATE_TEXT]
    assert receiver.requests[-1].json["template"] == TEMPLATE_EVENT
    eventually(lambda: status_of(reply["message_id"]) == "sent")


def test_a_pasted_template_text_from_the_desk_is_sent_as_the_template(
    shop: Shop, receiver: Receiver, client: Any
) -> None:
    template = TemplateFactory(api_channel=shop.channel, name="order_ready")
    chat_id = shop.anna_writes("?")["chat_id"]
    a_day_later(chat_id)
    client.force_login(shop.operator)

    client.post(f"/chats/{chat_id}/send/", {"text": TEMPLATE_TEXT})
    client.post(f"/chats/{chat_id}/templates/{template.pk}/send/", {"v.1": "Анна", "v.2": "№ 42"})

    assert answers(receiver, 2) == [TEMPLATE_TEXT, TEMPLATE_TEXT]
    sent = [request.json for request in receiver.requests if request.json.get("from") == "user"]
    assert [event["template"] for event in sent] == [TEMPLATE_EVENT, TEMPLATE_EVENT]
    assert "order_ready" in client.get(f"/chats/{chat_id}/").content.decode()


def test_an_inexact_template_text_is_refused_with_the_reason(shop: Shop, receiver: Receiver, worker: Worker) -> None:
    TemplateFactory(api_channel=shop.channel, name="order_ready")
    chat_id = shop.anna_writes("?")["chat_id"]
    receiver.wait_for(1)
    a_day_later(chat_id)

    near = shop.boris_answers(chat_id, TEMPLATE_TEXT.replace("готов", "готово"))
    unfilled = shop.boris_answers(chat_id, TEMPLATE_TEXT.replace("Анна", "{{1}}"))

    assert (near["reason"], unfilled["reason"]) == ("template_near_miss", "template_not_ready")
    assert (near["code"], unfilled["code"]) == (NOT_SENT, NOT_SENT)
    assert "готово" in near["error"]
    worker.settle()
    assert all(request.json["from"] == "client" for request in receiver.requests)


def test_a_held_reply_is_sent_when_the_client_writes(shop: Shop, receiver: Receiver, client: Any) -> None:
    opener = TemplateFactory(api_channel=shop.channel, name="we_answered", body="Мы ответили. Напишите нам.")
    chat_id = shop.anna_writes("?")["chat_id"]
    a_day_later(chat_id)
    client.force_login(shop.operator)

    client.post(f"/chats/{chat_id}/templates/{opener.pk}/hold/", {"text": "Сапоги есть, отложили"})
    assert answers(receiver, 1) == ["Мы ответили. Напишите нам."]
    shop.anna_writes("Что у вас?")

    assert answers(receiver, 2) == ["Мы ответили. Напишите нам.", "Сапоги есть, отложили"]


def test_a_new_client_message_reopens_the_window(shop: Shop, receiver: Receiver) -> None:
    chat_id = shop.anna_writes("?")["chat_id"]
    a_day_later(chat_id)
    assert "error" in shop.boris_answers(chat_id, "Поздно")

    shop.anna_writes("Вы там?")

    assert shop.boris_answers(chat_id, "Мы здесь")["status"] == "success"
    assert answers(receiver, 1) == ["Мы здесь"]


def test_the_same_message_ten_times_is_stored_once(shop: Shop, receiver: Receiver) -> None:
    responses = [shop.anna_writes("раз", id="wamid.1") for _ in range(10)]

    assert all(each == responses[0] for each in responses)
    assert Message.objects.count() == 1
    receiver.wait_for(1)
    assert Delivery.objects.count() == 1


def test_after_an_outage_the_provider_gets_every_message_once_in_order(
    shop: Shop, receiver: Receiver, worker: Worker
) -> None:
    receiver.answer("/hook", status=503)
    chat_id = shop.anna_writes("?")["chat_id"]
    sent = [shop.boris_answers(chat_id, text)["message_id"] for text in ("один", "два", "три")]
    receiver.wait_for(1)
    worker.settle()
    assert {status_of(pk) for pk in sent} <= {"pending", "sending"}

    receiver.answer("/hook", status=200)
    for _ in range(3):
        Delivery.objects.filter(state="pending").update(next_attempt_at=timezone.now())
        send_due_deliveries.delay()
        worker.settle()

    statuses = [status_of(pk) for pk in sent]
    assert statuses == ["sent"] * 3
    fresh = {
        request.headers["webhook-id"]: request.json["text"]
        for request in receiver.requests
        if request.json["from"] == "user"
    }
    assert list(fresh.values()) == ["один", "два", "три"]


def test_a_message_after_closing_opens_a_new_request_in_the_same_chat(shop: Shop, receiver: Receiver) -> None:
    from bridge.conversations import tickets

    first = shop.anna_writes("раз")
    tickets.set_ticket_status(Ticket.objects.get().pk, status=Ticket.Status.CLOSED, by=shop.operator.pk)

    second = shop.anna_writes("два")

    assert second["chat_id"] == first["chat_id"]
    assert Ticket.objects.count() == 2
    assert second["ticket_id"] == Ticket.objects.latest("pk").pk
    states = [request.json["state"] for request in receiver.wait_for(2)]
    assert states == ["new", "reopened"]


def test_only_the_owner_delivers_and_the_other_channel_gets_a_copy(shop: Shop, receiver: Receiver) -> None:
    ApiChannelFactory(
        kind="acebot",
        redirect_url=receiver.url("/crm"),
        watched=list(shop.channel.watched.all()),
        secret=True,
        copy_replies=True,
    )
    chat_id = shop.anna_writes("?")["chat_id"]
    shop.boris_answers(chat_id, "Да")

    receiver.wait_for(4)
    kinds = sorted(Delivery.objects.values_list("kind", flat=True))
    assert kinds == ["event", "event", "event", "message"]
    for path in ("/hook", "/crm"):
        bodies = [request.json for request in receiver.requests if request.path == path]
        assert {body["text"] for body in bodies} == {"?", "Да"}
        assert {body["delivery"] for body in bodies if body["from"] == "user"} == {path == "/hook"}
        assert {body["copy"] for body in bodies} == {path == "/crm"}


def test_messages_pass_from_the_phone_page_to_the_desk_and_back(live_server: Any, worker: Worker) -> None:
    phone = ApiChannelFactory()
    operator = boris(*phone.watched.all())
    webhook = live_server.url + phone.webhook_path
    event = {"type": "message", "id": "1", "from": {"id": "anna", "name": "Анна"}, "text": "Есть кто?"}

    assert requests.post(webhook, json=event, timeout=10).json() == {"status": "accepted"}
    eventually(lambda: Conversation.objects.exists())
    chat = Conversation.objects.get()
    message = reply_submission.submit_reply(conversation_id=chat.pk, text="Есть!", author=operator).message
    assert message
    eventually(lambda: status_of(message.pk) == "sent")
    requests.post(webhook, json={"type": "status", "message_id": message.pk, "status": "read"}, timeout=10)
    eventually(lambda: status_of(message.pk) == "read")

    requests.post(webhook, json={"type": "clock", "from": {"id": "anna"}, "hours": 25}, timeout=10)
    eventually(
        lambda: (
            reply_submission.submit_reply(conversation_id=chat.pk, text="?", author=operator).decision.reason
            == "window_closed"
        )
    )
    assert housekeeping.expire_windows() == 1
