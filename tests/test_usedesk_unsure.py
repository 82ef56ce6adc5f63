"""Calls of Usedesk whose response was lost: looked up first, and repeated only if Usedesk has no message."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.utils import translation

from bridge import outcomes
from bridge.models import Attempt, Delivery
from channels_setup.providers import helpdesks
from channels_setup.providers.base import ApiResponse, ContactInfo
from channels_setup.providers.base import helpdesk as contract
from channels_setup.providers.base.helpdesk import HelpdeskAccount, HelpdeskCommand, RemoteIds
from channels_setup.providers.usedesk import responses
from tests.simulators.usedesk import CLOSED, UsedeskSimulator
from tests.usedesk_shop import Shop

pytestmark = pytest.mark.django_db


@pytest.fixture
def simulator() -> Iterator[UsedeskSimulator]:
    with UsedeskSimulator() as simulator:
        simulator.echoes = False  # no event comes back: only a lookup can tell
        yield simulator


@pytest.fixture
def shop(simulator: UsedeskSimulator) -> Shop:
    return Shop.of(simulator)


def count(simulator: UsedeskSimulator, method: str) -> int:
    return [called for called, _body in simulator.calls].count(method)


def test_the_first_message_of_all_is_looked_for_by_its_client(shop: Shop, simulator: UsedeskSimulator) -> None:
    simulator.faults.lose_answer = 1

    shop.anna_writes("раз")
    shop.settle()
    shop.hurry()
    shop.anna_writes("два")
    shop.settle()

    assert simulator.texts() == ["раз", "два"]
    assert len(simulator.chats) == len(simulator.clients) == 1
    assert count(simulator, "tickets") == 1


def test_a_missing_first_message_is_sent_again(shop: Shop, simulator: UsedeskSimulator) -> None:
    shop.anna_writes("раз")
    from bridge.inbox import processing

    processing.process_inbox()
    Delivery.objects.filter(track="message").update(attempts=1, payload={"text": "раз", "may_have_arrived": True})
    shop.settle()

    assert simulator.texts() == ["раз"]
    assert count(simulator, "tickets") == 1


def test_a_client_with_a_lost_response_is_found_by_phone(shop: Shop, simulator: UsedeskSimulator) -> None:
    simulator.faults.lose_method, simulator.faults.lose_answer = "create/client", 1

    shop.anna_writes("раз")
    shop.settle()
    shop.hurry()

    assert len(simulator.clients) == 1
    assert simulator.texts() == ["раз"]
    assert shop.conversation().helpdesk_chat.client_id == next(iter(simulator.clients))


def test_a_message_that_opened_the_next_request_is_found_there(shop: Shop, simulator: UsedeskSimulator) -> None:
    chat_id = shop.begin("раз")
    simulator.set_status(chat_id, CLOSED)
    shop.settle()
    simulator.faults.lose_answer = 1

    shop.anna_writes("снова")
    shop.settle()
    shop.hurry()

    assert simulator.texts() == ["раз", "снова"]
    assert shop.conversation().helpdesk_chat.ticket_id == simulator.chats[chat_id].ticket_id


@pytest.mark.parametrize("arrived", [True, False])
def test_equal_texts_are_distinguished_by_their_count(shop: Shop, simulator: UsedeskSimulator, arrived: bool) -> None:
    shop.begin("?")
    shop.anna_writes("да")
    shop.settle()
    simulator.faults.lose_answer = int(arrived)
    simulator.faults.fail_500 = 0
    shop.anna_writes("да")
    if not arrived:
        from bridge.inbox import processing

        processing.process_inbox()
        last = Delivery.objects.filter(track="message").latest("pk")
        Delivery.objects.filter(pk=last.pk).update(payload=last.payload | {"may_have_arrived": True})
    shop.settle()
    shop.hurry()

    assert simulator.texts() == ["?", "да", "да"]


def test_a_look_that_fails_leaves_it_unsure(shop: Shop, simulator: UsedeskSimulator) -> None:
    shop.begin("раз")
    simulator.faults.lose_answer = 1
    shop.anna_writes("два")
    shop.settle()
    address = shop.chat_channel.options["base_url"]
    shop.chat_channel.options["base_url"] = "http://127.0.0.1:9/uapi/"
    shop.chat_channel.save()
    shop.hurry()
    between = Delivery.objects.filter(track="message").latest("pk")

    shop.chat_channel.options["base_url"] = address
    shop.chat_channel.save()
    shop.hurry()

    assert (between.reason, between.payload["may_have_arrived"]) == ("helpdesk_unreachable", True)
    assert simulator.texts() == ["раз", "два"]


def test_without_a_lookup_the_command_is_repeated_and_the_page_says_so(shop: Shop, simulator: UsedeskSimulator) -> None:
    shop.anna_writes("раз")
    from bridge.inbox import processing

    processing.process_inbox()
    Delivery.objects.filter(track="client").delete()  # given up: neither client nor request is known there
    simulator.faults.lose_answer = 1
    shop.settle()
    shop.hurry()

    assert simulator.texts() == ["раз", "раз"]
    last = Attempt.objects.latest("pk")
    assert (last.verdict, last.reason) == ("accepted", "helpdesk_possible_duplicate")
    with translation.override("en"):
        assert "twice" in outcomes.render_sentence(last.reason)


def test_a_message_is_repeated_after_lookups_without_a_result(
    shop: Shop, simulator: UsedeskSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.begin("раз")
    monkeypatch.setattr(simulator, "_tickets", lambda _body: [{"id": 1}])  # without its client
    simulator.faults.lose_answer = 1
    shop.anna_writes("два")
    shop.settle()
    for _ in range(3):
        shop.hurry()
    before = simulator.texts()
    shop.hurry()

    assert before == ["раз", "два"]
    assert simulator.texts() == ["раз", "два", "два"]
    assert Attempt.objects.latest("pk").reason == "helpdesk_possible_duplicate"


# --- results of a lookup ---------------------------------------------------------------------------------

ACCOUNT = HelpdeskAccount(id=1, name="", company_id=1, options={"base_url": "https://desk.example/uapi/"}, secret="s")
ANNA = ContactInfo(phone="+7 921 1")
TOLD = HelpdeskCommand(kind=contract.MESSAGE, key="k", text="да", contact=ANNA, remote_ids=RemoteIds(client_id=5))


def seen(body: Any, **more: Any) -> contract.LookupResult:
    from dataclasses import replace

    answer = ApiResponse(status=200, headers={}, body=json.dumps(body).encode())
    return helpdesks()["usedesk"].read_lookup(replace(TOLD, **more), answer, ACCOUNT)


@pytest.mark.parametrize(
    ("body", "arrived", "leads_on"),
    [
        ([], False, False),
        ([{"id": 7, "client_id": 5}, {"id": "9", "client_id": "5"}], None, True),
        ([{"id": 7, "client_id": 6}], None, False),  # the filter was not obeyed: nothing is known
        ([{"id": 7}], None, False),
        ({"error": "no"}, None, False),
        ({"ticket": {"id": 9}, "comments": [{"id": 1, "from": "client", "message": "<p>да</p>"}]}, True, False),
        ({"ticket": {"id": 9}, "comments": [{"id": 1, "from": "user", "message": "да"}]}, False, False),
        ({"ticket": {"id": 9}, "comments": {}}, None, False),
    ],
)
def test_what_a_look_shows(body: Any, arrived: bool | None, leads_on: bool) -> None:
    found = seen(body)

    assert found.arrived is arrived
    assert (found.next_request is not None) == leads_on
    assert not leads_on or b'"ticket_id": 9' in (found.next_request.body if found.next_request else b"")


@pytest.mark.parametrize(
    ("row", "is_it"),
    [
        ({"id": 3, "phone": "79211"}, True),
        ({"id": 3, "phones": ["+7 (921) 1"]}, True),
        ({"id": 3, "phones": [{"phone": "79211"}]}, True),
        ({"id": 3, "phone": "792110"}, False),
        ({"id": 3, "phone": None}, False),
        ({"phone": "79211"}, False),
    ],
)
def test_a_client_is_known_by_the_whole_phone(row: dict[str, Any], is_it: bool) -> None:
    assert responses.find_client([row], "+7 921 1") == (3 if is_it else None)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[[[", b"5", b'{"users": 5}', b'[5, null, {"id": "x"}]'])
def test_names_that_are_not_there_are_none(body: bytes) -> None:
    assert helpdesks()["usedesk"].read_operators(ApiResponse(status=200, headers={}, body=body)) == {}
