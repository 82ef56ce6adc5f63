"""Operators sit in Usedesk: journeys over its simulator, in both directions."""

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from bridge.conversations import closing_reminders, identity_changes
from bridge.desk import presentation
from bridge.fanout import operator_notes
from bridge.helpdesk import operators
from bridge.maintenance import erasure
from bridge.models import (
    Attempt,
    CircuitBreaker,
    Contact,
    Delivery,
    HelpdeskChat,
    HelpdeskConnection,
    HelpdeskReply,
    Message,
    ServiceWindow,
    Ticket,
    WebhookEvent,
)
from channels_setup.providers.base import ContactChanged, ContactInfo
from tests.factories import TemplateFactory, vera
from tests.simulators.usedesk import CHANNEL, CLOSED, UsedeskSimulator
from tests.usedesk_shop import Shop

pytestmark = pytest.mark.django_db


@pytest.fixture
def simulator() -> Iterator[UsedeskSimulator]:
    with UsedeskSimulator() as simulator:
        yield simulator


@pytest.fixture
def shop(simulator: UsedeskSimulator) -> Shop:
    return Shop.of(simulator)


# --- to Usedesk ------------------------------------------------------------------------------------------


def test_anna_writes_and_the_operators_see_her_with_her_phone(shop: Shop, simulator: UsedeskSimulator) -> None:
    shop.anna_writes("Здравствуйте! Заказ 42 приехал?")
    shop.settle()

    assert simulator.texts() == ["Здравствуйте! Заказ 42 приехал?"]
    [card] = simulator.clients.values()
    assert (card["name"], card["phone"]) == ("Анна", "79211234567")
    assert card["messengers"] == [{"type": "whatsapp", "identity": "anna"}]


def test_the_client_is_made_once_and_the_chat_is_remembered(shop: Shop, simulator: UsedeskSimulator) -> None:
    for text in ("раз", "два", "три"):
        shop.anna_writes(text)
        shop.settle()

    assert len(simulator.clients) == len(simulator.chats) == 1
    assert simulator.texts() == ["раз", "два", "три"]
    methods = [method for method, _body in simulator.calls]
    assert methods == ["create/client", "chat/addMessage", "chat/addMessage", "chat/addMessage"]
    assert [body.get("chat_id") for method, body in simulator.calls[2:]] == [next(iter(simulator.chats))] * 2
    assert all(body["channel_id"] == CHANNEL and body["company_id"] for method, body in simulator.calls[1:])


def test_a_burst_written_at_once_arrives_in_its_order(shop: Shop, simulator: UsedeskSimulator) -> None:
    words = [f"слово {number}" for number in range(12)]
    for word in words:
        shop.anna_writes(word)

    shop.settle()

    assert simulator.texts() == words


def test_a_null_ticket_is_tolerated_and_learned_from_the_event(shop: Shop, simulator: UsedeskSimulator) -> None:
    shop.begin()

    [ticket] = simulator.tickets
    assert HelpdeskChat.objects.get().ticket_id == ticket
    assert Ticket.objects.get().external_id == ticket


def test_a_file_goes_as_a_link(shop: Shop, simulator: UsedeskSimulator) -> None:
    shop.anna_writes("Вот чек", files=[{"url": "https://cdn.example/check.png", "name": "check.png"}])
    shop.settle()

    assert simulator.texts() == ["Вот чек\nhttps://cdn.example/check.png"]


@pytest.mark.parametrize("fault", ["error_200", "fail_500", "throttle"])
def test_messages_that_usedesk_rejects_are_sent_again_in_order(
    shop: Shop, simulator: UsedeskSimulator, fault: str
) -> None:
    shop.begin("раз")
    setattr(simulator.faults, fault, 1)

    shop.anna_writes("два")
    shop.anna_writes("три")
    shop.settle()
    assert simulator.texts() == ["раз"]
    shop.hurry()

    assert simulator.texts() == ["раз", "два", "три"]
    assert not Delivery.objects.exclude(state="delivered").exists()


def test_a_lost_answer_is_settled_by_the_event_that_comes_back(shop: Shop, simulator: UsedeskSimulator) -> None:
    shop.begin("раз")
    simulator.faults.lose_answer = 1

    shop.anna_writes("два")
    shop.settle()
    shop.hurry()

    assert simulator.texts() == ["раз", "два"]
    assert [method for method, _body in simulator.calls].count("chat/addMessage") == 2


def test_a_lost_answer_to_a_file_is_settled_by_the_event_with_its_link(shop: Shop, simulator: UsedeskSimulator) -> None:
    shop.begin("раз")
    simulator.faults.lose_answer = 1

    shop.anna_writes("", files=[{"url": "https://cdn.example/check.png"}])
    shop.anna_writes("два")
    shop.settle()

    assert simulator.texts() == ["раз", "https://cdn.example/check.png", "два"]
    assert {method for method, _body in simulator.calls} == {"create/client", "chat/addMessage"}  # no lookup was needed


def test_a_lost_response_is_looked_up_before_a_retry(shop: Shop, simulator: UsedeskSimulator) -> None:
    shop.begin("раз")
    simulator.echoes = False
    simulator.faults.lose_answer = 1

    shop.anna_writes("два")
    shop.settle()
    shop.hurry()

    assert simulator.texts() == ["раз", "два"]
    assert [method for method, _body in simulator.calls][-1] == "ticket"


def test_an_attempt_that_never_arrived_is_repeated(shop: Shop, simulator: UsedeskSimulator) -> None:
    shop.begin("раз")
    shop.anna_writes("два")
    waiting = Delivery.objects.filter(kind="helpdesk").latest("pk") if Delivery.objects.exists() else None
    assert waiting is not None
    from bridge.inbox import processing

    processing.process_inbox()
    Delivery.objects.filter(kind="helpdesk", state="pending").update(attempts=1, reason="outcome_unknown")

    shop.settle()

    assert simulator.texts() == ["раз", "два"]
    assert "ticket" in [method for method, _body in simulator.calls]


def test_a_wrong_key_holds_everything_and_uses_no_attempts(shop: Shop, simulator: UsedeskSimulator) -> None:
    simulator.key = "b2" * 20

    shop.anna_writes("раз")
    shop.settle()

    assert HelpdeskConnection.objects.get().last_error == "helpdesk_unauthorized"
    breaker = CircuitBreaker.objects.get()
    assert (breaker.chat_channel, breaker.api_channel) == (shop.chat_channel, None)
    assert breaker.backoff_until > timezone.now()
    assert set(Delivery.objects.values_list("state", "attempts")) == {("pending", 0)}
    shop.chat_channel.set_secret(simulator.key)
    shop.chat_channel.save()
    shop.hurry()
    assert simulator.texts() == ["раз"]


def test_no_attempt_keeps_the_key(shop: Shop, simulator: UsedeskSimulator) -> None:
    simulator.faults.error_200 = 1
    shop.anna_writes("раз")
    shop.settle()

    assert Attempt.objects.exists()
    assert not Attempt.objects.filter(answer__contains=simulator.key).exists()


# --- from Usedesk ----------------------------------------------------------------------------------------


def test_an_operators_answer_reaches_anna_once(shop: Shop, simulator: UsedeskSimulator) -> None:
    chat_id = shop.begin()

    simulator.say(chat_id, "Да, приезжайте 🙌")
    shop.settle()

    assert shop.at_annas() == ["Да, приезжайте 🙌"]
    assert set(simulator.answers) == {200}


@pytest.mark.parametrize("encoding", ["json", "form"])
@pytest.mark.parametrize("secret", ["app_id", "key"])
def test_every_encoding_and_both_secrets_are_accepted(
    shop: Shop, simulator: UsedeskSimulator, encoding: str, secret: str
) -> None:
    simulator.encoding, simulator.secret_in_events = encoding, getattr(simulator, secret)
    chat_id = shop.begin()

    simulator.say(chat_id, "Да & нет")
    shop.settle()

    assert shop.at_annas() == ["Да & нет"]
    assert not any(simulator.key.encode() in bytes(event.body) for event in WebhookEvent.objects.all())


def test_a_form_with_converted_characters_is_read_as_it_was_written(shop: Shop, simulator: UsedeskSimulator) -> None:
    """«Отправлять в UTF-8» off: the event's characters come as HTML entities."""
    chat_id = shop.begin()
    simulator.encoding = "entities"
    said = 'Да & нет 🙌 <b> "42" https://shop.example/?a=1&copy=2'

    simulator.say(chat_id, said)
    shop.settle()

    assert shop.at_annas() == [said]


def test_our_own_messages_that_come_back_are_dropped(shop: Shop, simulator: UsedeskSimulator) -> None:
    shop.begin("раз")
    shop.anna_writes("два")
    shop.settle()

    assert WebhookEvent.objects.exclude(chat_channel=None).count() == 3  # new chat and all messages, for the first
    assert shop.at_annas() == []
    assert Message.objects.count() == 2


def test_two_equal_answers_in_one_second_are_two(shop: Shop, simulator: UsedeskSimulator) -> None:
    chat_id = shop.begin()

    simulator.say(chat_id, "да")
    simulator.say(chat_id, "да")
    shop.settle()

    assert shop.at_annas() == ["да", "да"]


def test_the_same_event_later_is_a_redelivery(shop: Shop, simulator: UsedeskSimulator) -> None:
    chat_id = shop.begin()
    simulator.faults.share_doubled, simulator.faults.double_after = 1.0, 2.3

    simulator.say(chat_id, "да")
    shop.settle()

    assert len(simulator.answers) == 4  # two for Anna's first words, the answer, and the answer again
    assert shop.at_annas() == ["да"]


def test_with_comments_ticked_an_answer_comes_twice_and_goes_out_once(shop: Shop, simulator: UsedeskSimulator) -> None:
    simulator.boxes.add("comment")
    chat_id = shop.begin()

    simulator.say(chat_id, "да")
    simulator.say(chat_id, "да")
    simulator.say(chat_id, "нет")
    shop.settle()

    assert shop.at_annas() == ["да", "да", "нет"]


@pytest.mark.parametrize("text", ["Если a<b & c>d", "Жмите <Оформить> &amp; ждите", "1 &lt; 2", "<b>Да</b>"])
@pytest.mark.parametrize("escapes", [True, False])
def test_a_comments_html_is_the_same_answer_escaped_or_not(
    shop: Shop, simulator: UsedeskSimulator, text: str, escapes: bool
) -> None:
    simulator.boxes.add("comment")
    simulator.escapes = escapes

    simulator.say(shop.begin(), text)
    shop.settle()

    assert shop.at_annas() == [text]


def test_a_file_named_only_in_a_comment_gets_one_notice(shop: Shop, simulator: UsedeskSimulator) -> None:
    chat_id = shop.begin()
    simulator.say(chat_id, "Вот прайс")
    shop.settle()

    with simulator.changed:
        simulator.boxes.add("comment")
        ticket = simulator.tickets[simulator.chats[chat_id].ticket_id]
        simulator.faults.share_doubled, simulator.faults.double_after = 1.0, 0.0
        simulator._comment(ticket, "Вот прайс", sender="user", kind="public", files=("https://cdn.example/price.pdf",))
    shop.settle()

    assert shop.at_annas() == ["Вот прайс"]
    assert [note.count("https://cdn.example/price.pdf") for note in simulator.notes()] == [1]


def test_an_answer_written_in_tickets_comes_as_a_comment_alone(shop: Shop, simulator: UsedeskSimulator) -> None:
    simulator.boxes = {"comment", "new_chat"}
    chat_id = shop.begin()

    with simulator.changed:
        ticket = simulator.tickets[simulator.chats[chat_id].ticket_id]
        simulator._comment(ticket, "<p>Добрый день!</p><p>Да &amp; нет</p>", sender="user", kind="public")
    shop.settle()

    assert shop.at_annas() == ["Добрый день!\nДа & нет"]


def test_rules_are_relayed_only_where_the_admin_wants_it(shop: Shop, simulator: UsedeskSimulator) -> None:
    chat_id = shop.begin()

    simulator.rule_says(chat_id, "Мы ответим утром")
    shop.settle()
    assert shop.at_annas() == []
    shop.chat_channel.options["relay_rules"] = True
    shop.chat_channel.save()
    simulator.rule_says(chat_id, "Мы ответим утром")
    shop.settle()

    assert shop.at_annas() == ["Мы ответим утром"]


def test_another_channels_chat_is_not_ours(shop: Shop, simulator: UsedeskSimulator) -> None:
    chat_id = shop.begin()
    ticket = simulator.tickets[simulator.chats[chat_id].ticket_id]
    ticket["channel_id"] = 999

    simulator.say(chat_id, "Не вам")
    shop.settle()

    assert shop.at_annas() == []


@pytest.mark.parametrize(
    ("body", "content_type", "track"),
    [
        (b'{"ping": "ping"}', "application/json", "ping"),
        (b"ping", "text/plain", "ping"),
        (b'{"message_status": {"delivery_status": "DELIVERED"}}', "application/json", "native_status"),
        (b'{"hello": 1}', "application/json", "unknown"),
        (b"<html>", "text/html", "unknown"),
        (b"\xff\xfe", "application/json", "unknown"),
        (b"", "application/json", "unknown"),
        (b"--x\r\nbroken", "multipart/form-data; boundary=x", "unknown"),
    ],
)
def test_whatever_is_harmless_gets_its_200_is_stored_and_noted(
    shop: Shop, body: bytes, content_type: str, track: str
) -> None:
    status = shop.post(shop.chat_channel.webhook_path, body, content_type)
    shop.settle()

    assert status == 200
    assert WebhookEvent.objects.get().state in ("processed", "failed")
    assert list(HelpdeskConnection.objects.get().first_events) == [track]


@pytest.mark.parametrize("secret", [None, "", "0", "wrong"])
def test_an_event_without_the_right_secret_is_refused_and_leaves_no_row(shop: Shop, secret: str | None) -> None:
    chat_id = shop.begin()
    before = WebhookEvent.objects.count()
    event = {"chat_id": chat_id, "from": "user", "text": "Я Глеб", "secret": secret, "ticket": {"id": 1}}

    status = shop.post(shop.chat_channel.webhook_path, json.dumps(event).encode())

    assert status == 403
    assert WebhookEvent.objects.count() == before


def test_a_wrong_path_is_unknown(shop: Shop) -> None:
    assert shop.post(shop.chat_channel.webhook_path[:-3] + "/", b'{"ping": 1}') == 404
    assert not WebhookEvent.objects.exists()


# --- notes to operators in Usedesk -----------------------------------------------------------------------


def test_a_closed_window_is_reported_with_templates_to_paste(shop: Shop, simulator: UsedeskSimulator) -> None:
    TemplateFactory(api_channel=shop.channel, name="order_ready")
    chat_id = shop.begin()
    shop.time_passes(25)

    simulator.say(chat_id, "Простите, что так долго")
    shop.settle()

    [note] = simulator.notes()
    assert "Not sent to the client. The 24-hour window is closed" in note
    assert "Простите, что так долго" in note
    assert "Здравствуйте, {{1}}! Ваш заказ {{2}} готов к выдаче." in note
    assert "/send/" in note and "/templates/" not in note
    assert shop.at_annas() == []
    assert simulator.texts("user") == ["Простите, что так долго"]  # the client got nothing instead


def test_a_pasted_template_goes_out_and_the_operator_learns_as_which(shop: Shop, simulator: UsedeskSimulator) -> None:
    TemplateFactory(api_channel=shop.channel, name="order_ready")
    chat_id = shop.begin()
    shop.time_passes(25)

    simulator.say(chat_id, "Здравствуйте, Анна! Ваш заказ № 42 готов к выдаче.")
    shop.settle()

    assert shop.at_annas() == ["Здравствуйте, Анна! Ваш заказ № 42 готов к выдаче."]
    [note] = simulator.notes()
    assert "order_ready" in note and "№ 42" in note


def test_a_near_miss_is_reported_with_the_approved_text(shop: Shop, simulator: UsedeskSimulator) -> None:
    TemplateFactory(api_channel=shop.channel, name="order_ready")
    TemplateFactory(api_channel=shop.channel, name="another", body="Совсем другое {{1}} дело.", examples=("Анна",))
    chat_id = shop.begin()
    shop.time_passes(25)

    simulator.say(chat_id, "Здравствуйте, Анна! Ваш заказ № 42 готово к выдаче.")
    shop.settle()

    [note] = simulator.notes()
    assert "does not quite match" in note and "готово" in note
    assert "готов к выдаче" in note and "Совсем другое" not in note


def test_an_undelivered_message_is_reported_once(shop: Shop, simulator: UsedeskSimulator) -> None:
    chat_id = shop.begin()
    simulator.say(chat_id, "Да")
    shop.settle()
    message = Message.objects.get(direction="outbound")
    event = {"type": "status", "message_id": message.pk, "status": "failed", "code": "131026", "title": "Unreachable"}

    for _ in range(2):
        shop.provider_posts(event)
        shop.settle()

    [note] = simulator.notes()
    assert "not delivered" in note and "131026" in note and "Да" in note


def test_a_window_closed_by_whatsapps_answer_offers_the_templates(shop: Shop, simulator: UsedeskSimulator) -> None:
    TemplateFactory(api_channel=shop.channel, name="order_ready")
    chat_id = shop.begin()
    simulator.say(chat_id, "Да")
    shop.settle()
    message = Message.objects.get(direction="outbound")

    message.status, message.reason = Message.Status.FAILED, "wa_window_closed"
    operator_notes.note_failed_messages([message])
    shop.settle()

    [note] = simulator.notes()
    assert "not delivered" in note and "Здравствуйте, {{1}}! Ваш заказ {{2}} готов к выдаче." in note


def test_a_closing_window_is_reported_once(shop: Shop, simulator: UsedeskSimulator) -> None:
    shop.begin()
    ServiceWindow.objects.update(expires_at=timezone.now() + timedelta(minutes=40))

    assert closing_reminders.send_reminders() == 1
    assert closing_reminders.send_reminders() == 0
    shop.settle()

    [note] = simulator.notes()
    assert "40 min" in note


def test_an_answered_window_closes_without_a_note(shop: Shop, simulator: UsedeskSimulator) -> None:
    simulator.say(shop.begin(), "Да")
    shop.settle()
    ServiceWindow.objects.update(expires_at=timezone.now() + timedelta(minutes=40))

    assert closing_reminders.send_reminders() == 0


def test_notes_are_in_the_operators_language(simulator: UsedeskSimulator) -> None:
    shop = Shop.of(simulator, language="ru")
    chat_id = shop.begin()
    shop.time_passes(25)

    simulator.say(chat_id, "Поздно")
    shop.settle()

    assert "24-часовое окно закрыто" in simulator.notes()[0]


def test_a_file_from_an_operator_is_answered_with_the_notice(shop: Shop, simulator: UsedeskSimulator) -> None:
    simulator.say(shop.begin(), "", files=("https://cdn.example/price.pdf",))
    shop.settle()

    assert shop.at_annas() == []
    assert "https://cdn.example/price.pdf" in simulator.notes()[0]


def test_a_file_from_an_operator_goes_as_a_link_where_that_is_allowed(simulator: UsedeskSimulator) -> None:
    shop = Shop.of(simulator, links_for_files=True)

    simulator.say(shop.begin(), "", files=("https://cdn.example/price.pdf",))
    shop.settle()

    assert shop.at_annas() == ["https://cdn.example/price.pdf"]
    assert simulator.notes() == []


# --- requests --------------------------------------------------------------------------------------------


def test_a_request_closed_there_is_closed_here_and_the_next_opens(shop: Shop, simulator: UsedeskSimulator) -> None:
    chat_id = shop.begin()
    simulator.set_status(chat_id, CLOSED)
    shop.settle()
    assert Ticket.objects.get().status == CLOSED

    shop.anna_writes("Ещё вопрос")
    shop.settle()

    first, second = Ticket.objects.order_by("pk")
    assert [first.external_id, second.external_id] == sorted(simulator.tickets)
    assert first.status == CLOSED and second.status not in Ticket.ENDED
    assert len(simulator.chats) == 1


def test_a_request_reopened_there_is_open_here(shop: Shop, simulator: UsedeskSimulator) -> None:
    chat_id = shop.begin()
    for status in (CLOSED, 1):
        simulator.set_status(chat_id, status)
        shop.settle()

    assert Ticket.objects.get().status == 1


def test_the_assignee_there_is_shown_here(shop: Shop, simulator: UsedeskSimulator, client: Client) -> None:
    simulator.assign(shop.begin(), 27)
    shop.settle()

    assert HelpdeskChat.objects.get().assignee == "27"
    client.force_login(vera())
    for page in ("/requests/", f"/chats/{shop.conversation().pk}/"):
        assert "operator 27" in client.get(page, headers={"accept-language": "en"}).content.decode()


def test_a_person_erased_here_leaves_nothing_of_what_the_helpdesk_sent(shop: Shop, simulator: UsedeskSimulator) -> None:
    chat_id = shop.begin("Меня зовут Анна")
    simulator.say(chat_id, "Да, Анна")
    shop.settle()

    erasure.erase_person(shop.contact().pk, by=None)

    assert not HelpdeskChat.objects.exists() and not HelpdeskReply.objects.exists()
    assert not any(bytes(event.body) for event in WebhookEvent.objects.exclude(chat_channel=None))
    payloads = [delivery.payload for delivery in Delivery.objects.all()]
    assert payloads and not any(payloads)


# --- names and cards -------------------------------------------------------------------------------------


def test_who_answers_there_is_shown_by_name_once_it_is_known(
    shop: Shop, simulator: UsedeskSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[tuple[str, int]] = []
    monkeypatch.setattr(operators.wakeups, "enqueue_after_commit", lambda task, pk: called.append((task, pk)))
    chat_id = shop.begin()
    simulator.assign(chat_id, 27)
    shop.settle()
    before = presentation.assignee_name(None, shop.conversation())

    assert operators.fetch_operator_names(shop.chat_channel.pk) == 1
    assert operators.fetch_operator_names(shop.chat_channel.pk) == 0  # everybody was asked for a moment ago
    simulator.say(chat_id, "Да")
    shop.settle()

    assert called == [("fetch_operator_names", shop.chat_channel.pk)]
    assert "27" in before
    assert presentation.assignee_name(None, shop.conversation()) == "Борис Белов (Usedesk)"
    assert Message.objects.get(direction="outbound").details["operator"] == "Борис Белов"
    assert [method for method, _body in simulator.calls].count("users") == 1


def test_names_that_cannot_be_had_leave_the_number(shop: Shop, simulator: UsedeskSimulator) -> None:
    simulator.assign(shop.begin(), 27)
    shop.settle()
    simulator.faults.fail_500 = 1

    assert operators.fetch_operator_names(shop.chat_channel.pk) == 0
    assert "27" in presentation.assignee_name(None, shop.conversation())


def test_a_name_that_becomes_known_later_changes_the_card_once(shop: Shop, simulator: UsedeskSimulator) -> None:
    event = {"type": "message", "id": "m1", "from": {"id": "anna", "name": ""}, "text": "раз"}
    shop.provider_posts(event)
    shop.settle()
    before = dict(next(iter(simulator.clients.values())))
    shop.number = 1
    for text in ("два", "три"):
        shop.anna_writes(text)
        shop.settle()

    [card] = simulator.clients.values()
    assert before["name"] != "Анна"
    assert (card["name"], card["phone"]) == ("Анна", "79211234567")
    assert [method for method, _body in simulator.calls].count("update/client") == 1
    assert simulator.texts() == ["раз", "два", "три"]


def test_a_card_that_is_refused_holds_no_message_up(shop: Shop, simulator: UsedeskSimulator) -> None:
    shop.begin("раз")
    Contact.objects.update(name="Анна Новая")
    HelpdeskChat.objects.update(client_id=1)  # which nobody knows there

    shop.provider_posts({"type": "message", "id": "m9", "from": {"id": "anna"}, "text": "два"})
    shop.settle()

    assert Delivery.objects.filter(track="client").latest("pk").state == "dead"
    assert "два" in simulator.texts()


def test_a_changed_number_is_reported_without_a_message(shop: Shop, simulator: UsedeskSimulator) -> None:
    shop.begin("раз")
    contact = Contact.objects.get()
    contact.external_id = "79211234567"
    contact.save()
    before, now = ContactInfo(external_id="79211234567"), ContactInfo(external_id="79995550011")
    change = ContactChanged(contact=before, now=now)

    identity_changes.apply_identity_change(shop.channel, change)
    shop.settle()

    assert next(iter(simulator.clients.values()))["phone"] == "79995550011"
