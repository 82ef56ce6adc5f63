"""A channel that hides phones: operators see no whole number on any page, in any file or in any API answer."""

from __future__ import annotations

import json
import re
from threading import Thread
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import transaction
from django.http import StreamingHttpResponse
from django.test import Client, RequestFactory
from django.utils import timezone

from bridge.conversations import contact_links
from bridge.merging.merge import merge_contacts
from bridge.models import Attempt, CannedResponse, Contact, ContactChange, Draft, Message
from bridge.phone_visibility import Viewer, hidden_channels, hides_phones, set_viewer_middleware
from channels_setup.codecs.phone_masking import mask_phone_or_name
from channels_setup.models import ChatChannel
from channels_setup.permissions import VIEW_FULL_PHONE
from config.web.route_access import Audience as A
from tests.channel_worlds import CANARIES, PHONE, World, make_world
from tests.factories import (
    ContactFactory,
    ConversationFactory,
    DeliveryFactory,
    MessageFactory,
    TicketFactory,
    token_of,
    vera,
)
from tests.test_route_access import ROUTES, bodies, text_of

pytestmark = pytest.mark.django_db

DIGITS, MASKED = PHONE[1:], "+7 ••• ••• 01-77"
READ_BY_OPERATORS = {A.API_USERS, A.USERS, A.PERMITTED, A.OWN_ROWS, A.OWN_ACCOUNT}
TYPED = "8(900)55501-77"  # a page with results repeats the query
WAMID = "wamid.HBgLNzkwMDU1NTAxNzcVAgARGBI5QTNDQTVCM0Q0Q0Q2RTY3RTcA"
NUMBERS = (*CANARIES[1:], DIGITS[1:], "9005550177", "HBgLNzkwMDU1NTAxNzc")


@pytest.fixture
def world() -> World:
    """A channel that hides phones; its client has the number in every field that can hold it."""
    world = make_world("a", text="quokka", phone=PHONE)
    world.chat_channel.hides_phones = True
    world.chat_channel.save()
    for codename in ("merge_contact", "erase_contact", "view_reports"):
        world.operator.user_permissions.add(Permission.objects.get(codename=codename))
    contact: Contact = world["contact"]
    contact.external_id, contact.username, contact.caller_id = DIGITS, DIGITS, f"crm-{PHONE}"
    contact.save()
    for field, old, new in (("phone", "", PHONE), ("name", DIGITS, "quokka")):
        ContactChange.objects.create(contact=contact, field=field, old=old, new=new, source="operator")
    Message.objects.filter(pk=world["message"].pk).update(external_id=WAMID)
    MessageFactory(
        conversation=world["conversation"],
        direction="notice",
        text="",
        reason="contact_moved",
        details={"before": DIGITS, "after": PHONE, "number": DIGITS, "chat": 1},
    )
    failed = MessageFactory(
        conversation=world["conversation"],
        direction="outbound",
        status="failed",
        reason="provider_failed",
        details={"code": "131030", "title": f"Recipient {DIGITS} is not in the list"},
    )
    Draft.objects.update(reason="contact_moved", details={"after": PHONE, "chat": 1})  # when phones were visible
    delivery = DeliveryFactory(
        conversation=world["conversation"], message=failed, api_channel=world.api_channel, state="dead"
    )
    answer = json.dumps({"contacts": [{"input": PHONE, "wa_id": DIGITS}]})
    Attempt.objects.create(
        delivery=delivery, number=1, started_at=timezone.now(), duration_ms=10, verdict="retry", answer=answer
    )
    world.rows |= {"failed": failed, "delivery": delivery, "nameless": _add_nameless_client(world)}
    return world


def _add_nameless_client(world: World) -> Any:
    """Add a client without a name, whose phone is written everywhere instead, and one merged into it."""
    nameless = ContactFactory(api_channel=world.api_channel, name=PHONE, external_id=f"{DIGITS[:-1]}8", phone="")
    other = ContactFactory(api_channel=world.api_channel, name="", external_id=f"{DIGITS[:-1]}9", phone=PHONE)
    chats = [
        ConversationFactory(api_channel=world.api_channel, contact=one, chat_channel=world.chat_channel)
        for one in (nameless, other)
    ]
    TicketFactory(conversation=chats[0])
    merge_contacts(other.pk, nameless.pk, by=vera())
    moved_to = ContactFactory(api_channel=world.api_channel, name="", external_id=f"{DIGITS[:-2]}66", phone=PHONE)
    moved_chat = ConversationFactory(
        api_channel=world.api_channel, contact=moved_to, chat_channel=world.chat_channel, last_text="moved"
    )
    contact_links.change_number(moved_to, f"{DIGITS[:-2]}67", at=moved_chat.created_at)
    return chats[0]


def paths(world: World) -> list[str]:
    names = ("conversation", "nameless", "message", "failed", "contact")
    chat, nameless, message, failed, contact = (world[name].pk for name in names)
    client = ("", "client/edit/", "client/merge/", "client/erase/")
    return [
        *("/", "/chats/", "/chats/updates/?list=none", "/requests/", "/windows/", "/windows/missed.csv"),
        *(f"/chats/?q={query}" for query in (TYPED, "quokka")),
        *(f"/chats/{pk}/{page}" for pk in (chat, nameless) for page in client),
        f"/chats/{chat}/client/merge/?q={TYPED}",
        f"/chats/{chat}/client/merge/?with={world['nameless'].contact_id}",
        *(f"/chats/{chat}/messages/{pk}/trail/" for pk in (message, failed)),
        *(f"/chats/{chat}/{page}/" for page in ("canned-responses", "templates")),
        f"/templates/{world['template'].pk}/send/?chat={chat}",
        f"/templates/{world['template'].pk}/send/?find={TYPED}",
        *("/api/v1/conversations/", f"/api/v1/conversations/{chat}/", f"/api/v1/conversations/?phone={TYPED}"),
        *("/api/v1/contacts/", f"/api/v1/contacts/{contact}/", f"/api/v1/contacts/{contact}/changes/"),
        *("/api/v1/messages/", f"/api/v1/messages/{message}/", "/api/v1/deliveries/"),
        f"/api/v1/deliveries/{world['delivery'].pk}/",
    ]


def read(client: Client, path: str, **headers: Any) -> tuple[int, str]:
    response: Any = client.get(path, headers=headers)
    content = b"".join(response.streaming_content) if response.streaming else response.content
    return response.status_code, content.decode()


def find_numbers(client: Client, world: World, **headers: Any) -> list[str]:
    problems = []
    for path in paths(world):
        status, text = read(client, path, **headers)
        problems += [f"{path}: {status}"] if status not in (200, 302) else []
        for number in NUMBERS:
            if number in text:
                problems.append(f"{path}: {text[max(text.index(number) - 80, 0) :][:120]}")
                break
    return problems


def test_an_operator_sees_no_whole_number_anywhere(world: World) -> None:
    client = Client(HTTP_ACCEPT_LANGUAGE="en")
    client.force_login(world.operator)

    assert find_numbers(client, world) == []
    assert MASKED in read(client, f"/chats/{world['conversation'].pk}/")[1]


def test_a_token_of_an_operator_sees_no_whole_number(world: World) -> None:
    client, headers = Client(), token_of(world.operator)
    problems = find_numbers(client, world, **headers)

    assert [problem for problem in problems if "/api/" in problem] == []
    answer = json.loads(read(client, f"/api/v1/contacts/{world['contact'].pk}/", **headers)[1])
    assert answer["phone"] == answer["external_id"] == answer["username"] == MASKED


@pytest.mark.exhaustive
def test_no_route_answers_an_operator_with_a_whole_number(world: World) -> None:
    world.rows |= {"user": world.operator}
    client, problems = Client(raise_request_exception=False), []
    client.force_login(world.operator)
    for route in ROUTES:
        if route.audience not in READ_BY_OPERATORS or route.route.startswith(("account/", "logout")):
            continue
        for method in route.methods:
            body = bodies(route, world)[0] if method in ("POST", "PATCH") else None
            with transaction.atomic():
                as_json = {"content_type": "application/json"} if route.is_api and method != "GET" else {}
                data = json.dumps(body) if as_json else body
                text = text_of(getattr(client, method.lower())(route.path(world), data, **as_json))
                transaction.set_rollback(True)
            problems += [f"{method} {route.route}: {number}" for number in NUMBERS if number in text][:1]

    assert not problems, "\n".join(problems)


def test_the_permission_shows_whole_numbers(world: World) -> None:
    path = f"/chats/{world['conversation'].pk}/"
    client = Client()
    client.force_login(vera())  # admins have the permission
    assert "900 555-01-77" in read(client, path)[1]
    client.force_login(world.operator)
    assert "900 555-01-77" not in read(client, path)[1]

    ChatChannel.objects.update(hides_phones=False)
    assert "900 555-01-77" in read(client, path)[1]
    ChatChannel.objects.update(hides_phones=True)
    world.operator.user_permissions.add(Permission.objects.get(codename=VIEW_FULL_PHONE.partition(".")[2]))
    assert "900 555-01-77" in read(client, path)[1]
    assert hidden_channels() == frozenset()  # outside of a request


def test_a_program_with_the_key_of_the_channel_sees_whole_numbers(world: World) -> None:
    contact, nameless = world["contact"], world["nameless"].contact
    Contact.objects.filter(pk=contact.pk).update(moved_to=nameless)
    body = {"api_token": world.secrets["api_key"], "chat_id": world["conversation"].pk, "text": "hi"}
    body |= {"user_id": world.operator.pk}

    answer = Client().post("/uapi/chat/sendMessage", json.dumps(body), content_type="application/json")

    assert nameless.external_id in answer.json()["error"]


def test_a_streamed_answer_keeps_its_user_in_another_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Viewer, "hidden_channels", frozenset({7}))
    middleware = set_viewer_middleware(
        lambda _request: StreamingHttpResponse(f"{hides_phones(7)} " for _part in range(2))  # type: ignore[arg-type]
    )
    response: Any = middleware(RequestFactory().get("/"))
    parts: list[bytes] = []
    thread = Thread(target=lambda: parts.extend(response.streaming_content))
    thread.start()
    thread.join()
    response.close()

    assert parts == [b"True ", b"True "]
    assert hidden_channels() == frozenset()


def test_a_full_number_is_found_and_a_part_of_it_is_not(world: World) -> None:
    client, headers = Client(), token_of(world.operator)
    client.force_login(world.operator)
    link = f"/chats/{world['conversation'].pk}/"
    contact = world["contact"].pk

    def find(query: str) -> tuple[bool, list[int]]:
        answer = json.loads(read(Client(), f"/api/v1/contacts/?search={query}", **headers)[1])
        return link in read(client, f"/chats/?q={query}&list=none")[1], [row["id"] for row in answer["results"]]

    assert find(DIGITS[:-1]) == (False, [])
    assert find("555-01") == (False, [])
    assert find("quokka 9005") == (False, [])
    assert find("quokka")[0]
    for query in (DIGITS, "8" + DIGITS[1:], "9005550177"):
        assert link in read(client, f"/chats/?q={query}")[1]
        assert contact in [
            row["id"] for row in json.loads(read(Client(), f"/api/v1/contacts/?phone={query}", **headers)[1])["results"]
        ]
    Contact.objects.filter(pk=contact).update(name=f"Anna {DIGITS}")
    assert find("anna")[0]
    assert find(DIGITS[:6]) == find(f"anna {DIGITS[:6]}") == (False, [])
    ChatChannel.objects.update(hides_phones=False)
    assert find("555-01")[0]


@pytest.mark.parametrize("text", [f"wa{DIGITS}", f"{DIGITS}x", f"crm+{DIGITS}", f"Anna{DIGITS}c", f"id-{DIGITS}@c.us"])
def test_a_phone_next_to_letters_is_masked_in_names_and_ids(text: str) -> None:
    assert DIGITS not in mask_phone_or_name(text) and "01-77" in mask_phone_or_name(text)


def test_a_hidden_number_cannot_be_changed_or_erased_by_a_masked_one(world: World) -> None:
    contact, pk = world["contact"], world["conversation"].pk
    client, headers = Client(HTTP_ACCEPT_LANGUAGE="en"), token_of(world.operator)
    client.force_login(world.operator)
    form = read(client, f"/chats/{pk}/client/edit/")[1]
    assert 'name="email"' in form and 'name="phone"' not in form

    edit = {"for_user": world.operator.pk, "for_chat": pk, "name": "Anna", "was_name": contact.name}
    for phone in ("", "+79001234567"):
        client.post(f"/chats/{pk}/client/edit/", edit | {"phone": phone, "was_phone": MASKED})
        contact.refresh_from_db()
        assert (contact.phone, contact.name) == (PHONE, "quokka client")
    api = {"content_type": "application/json", "headers": headers}
    path = f"/api/v1/contacts/{contact.pk}/"
    assert client.patch(path, {"phone": "+79001234567"}, **api).status_code == 400
    assert client.patch(path, {"phone": MASKED, "name": "Anna"}, **api).status_code == 200
    contact.refresh_from_db()
    assert (contact.phone, contact.name) == (PHONE, "Anna")


def test_a_name_that_is_a_hidden_phone_is_kept_and_not_sent(world: World) -> None:
    contact = Contact.objects.get(pk=world["contact"].pk)
    Contact.objects.filter(pk=contact.pk).update(name=PHONE)
    client = Client(HTTP_ACCEPT_LANGUAGE="en")
    client.force_login(world.operator)
    pk = world["conversation"].pk
    edit = {"for_user": world.operator.pk, "for_chat": pk, "name": MASKED, "was_name": MASKED, "email": "a@b.example"}
    client.post(f"/chats/{pk}/client/edit/", edit)
    contact.refresh_from_db()

    assert (contact.name, contact.email) == (PHONE, "a@b.example")
    CannedResponse.objects.update(text="Dear {client}!")
    Draft.objects.all().delete()
    answer = read(client, f"/chats/{pk}/canned-responses/?take={world['cannedresponse'].pk}")[1]
    assert re.search(r"<textarea[^>]*>Dear[^<]*", answer)[0].endswith("Dear!")  # type: ignore[index]  # it is there
