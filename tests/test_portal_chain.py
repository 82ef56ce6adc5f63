"""Two chained portals: A with the built-in desk, B with A as its Usedesk, and a training phone at the end.

Both communicate over real HTTP through public interfaces only: B calls A's ``/uapi/``, and A posts its events to B's
webhook. They share this process and database, but A's channels know nothing of B's.
"""

from typing import Any

import pytest
import requests

from bridge.conversations import tickets
from bridge.models import HelpdeskChat, Message, Ticket, WebhookEvent
from channels_setup import http_client
from channels_setup.models import ApiChannel
from channels_setup.providers.base import ApiRequest, ApiResponse
from tests.factories import TemplateFactory
from tests.responses import change_responses
from tests.scenarios.portal_chain import Chain

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def chain(live_server: Any) -> Chain:
    return Chain(live_server.url)


@pytest.mark.exhaustive
def test_messages_pass_both_ways_once_and_in_order(chain: Chain) -> None:
    questions, answers = ([f"{word} {number}" for number in range(12)] for word in ("вопрос", "ответ"))
    for question in questions[:6]:
        chain.anna_writes(question)
    chain.settle()
    for question, answer in zip(questions[6:], answers[:6], strict=True):
        chain.anna_writes(question)
        chain.boris_answers(answer)
    for answer in answers[6:]:
        chain.boris_answers(answer)
    chain.settle()

    assert chain.seen(chain.at_a(), "inbound") == questions
    assert chain.seen(chain.at_b(), "outbound") == answers
    assert not WebhookEvent.objects.filter(state="failed").exists()


def test_equal_replies_are_not_merged_and_the_card_has_a_phone(chain: Chain) -> None:
    chain.anna_writes("?")
    chain.settle()
    for _ in range(3):
        chain.boris_answers("да")
    chain.settle()

    assert chain.seen(chain.at_b(), "outbound") == ["да"] * 3
    contact = chain.at_a().contact
    assert (contact.name, contact.phone, contact.external_id) == ("Анна", "79211234567", "anna")
    assert HelpdeskChat.objects.get().client_id == contact.pk


def test_duplicate_deliveries_are_stored_once_on_both_sides(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    change_responses(monkeypatch, lambda request, _response: http_client.send(request))
    chain.anna_writes("раз")
    chain.anna_writes("два")
    chain.settle()
    chain.boris_answers("три")
    chain.settle()

    assert chain.seen(chain.at_a(), "inbound") == ["раз", "два"]
    assert chain.seen(chain.at_b(), "outbound") == ["три"]


def test_a_lost_response_creates_no_second_message(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    lost: list[str] = []

    def lose(request: ApiRequest, response: ApiResponse) -> ApiResponse:
        if "chat/addMessage" in request.url and len(lost) < 2:
            lost.append(request.url)
            raise http_client.NoResponse
        return response

    change_responses(monkeypatch, lose)
    for text in ("раз", "два", "три"):
        chain.anna_writes(text)
        chain.settle()

    assert len(lost) == 2
    assert chain.seen(chain.at_a(), "inbound") == ["раз", "два", "три"]


def test_closing_passes_to_b_and_a_closed_window_is_reported_to_a(chain: Chain) -> None:
    TemplateFactory(api_channel=chain.b, name="order_ready")
    chain.anna_writes("?")
    chain.settle()
    clock = {"type": "clock", "from": {"id": "anna"}, "hours": 25}
    requests.post(chain.address + chain.b.webhook_path, json=clock, timeout=20)
    chain.settle()

    chain.boris_answers("Поздно")
    chain.settle()
    ticket = Ticket.objects.get(conversation=chain.at_a())
    tickets.set_ticket_status(ticket.pk, status=Ticket.Status.CLOSED)
    chain.settle()

    [note] = Message.objects.filter(conversation=chain.at_a(), reason="note")
    assert "Not sent to the client" in note.text and "{{1}}" in note.text
    assert chain.seen(chain.at_b(), "outbound") == []
    assert Ticket.objects.get(conversation=chain.at_b()).status == Ticket.Status.CLOSED


@pytest.mark.parametrize(("multipart", "utf8"), [(True, False), (True, True), (False, False)])
def test_forms_are_forwarded_like_json(chain: Chain, multipart: bool, utf8: bool) -> None:
    ApiChannel.objects.filter(pk=chain.a.pk).update(
        send_json=False, send_multipart=multipart, send_utf8=utf8, track_comment=True
    )
    chain.anna_writes("Ёлка & «🙌»?")
    chain.settle()
    for text in ("да & «нет» 🙌", "да", "да"):
        chain.boris_answers(text)
    chain.settle()

    assert chain.seen(chain.at_a(), "inbound") == ["Ёлка & «🙌»?"]
    assert chain.seen(chain.at_b(), "outbound") == ["да & «нет» 🙌", "да", "да"]
    assert not WebhookEvent.objects.filter(state="failed").exists()
