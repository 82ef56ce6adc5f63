"""Canned responses: texts with variables, searched in the composer."""

from __future__ import annotations

import pytest
from django.test import Client

from bridge import canned_variables
from bridge.models import CannedResponse, Conversation, Ticket
from tests.factories import ChatChannelFactory, ConversationFactory, TicketFactory, boris, gleb, vera
from tests.pages import SCRIPT, signed_in

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("in_english")]


@pytest.fixture
def chat() -> Conversation:
    made: Conversation = ConversationFactory(name="Анна Соколова")
    return made


@pytest.fixture
def desk(chat: Conversation, client: Client) -> Client:
    return signed_in(client, boris(chat.chat_channel))


def listed_names(desk: Client, chat: Conversation, find: str = "") -> str:
    answer = desk.get(f"/chats/{chat.pk}/canned-responses/", {"find": find}, headers=SCRIPT)
    assert answer.status_code == 200
    return str(answer.content.decode())


def test_variables_are_filled_in_from_the_chat(desk: Client, chat: Conversation) -> None:
    ticket: Ticket = TicketFactory(conversation=chat)
    CannedResponse.objects.create(
        name="привет", text="Здравствуйте, {Имя}! Это {operator}, канал {channel}, запрос {номер  запроса}. {{1}}"
    )

    html = listed_names(desk, chat)

    expected = f"Здравствуйте, Анна! Это boris, канал {chat.chat_channel.name}, запрос № {ticket.pk}. {{{{1}}}}"
    assert f'data-canned-response="{expected}"' in html


def test_the_signature_of_the_operator_is_a_variable(client: Client, chat: Conversation) -> None:
    operator = boris(chat.chat_channel)
    operator.signature = "Борис, склад\n"
    operator.save()
    CannedResponse.objects.create(name="подпись", text="Спасибо!\n{подпись}")

    html = listed_names(signed_in(client, operator), chat)

    assert 'data-canned-response="Спасибо!\nБорис, склад"' in html


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Здравствуйте, {имя}!", "Здравствуйте!"),
        ("{имя}, здравствуйте!", "Здравствуйте!"),
        ("Добрый день. {имя}, мы на Лиговском.", "Добрый день. Мы на Лиговском."),
        ("Вот и всё.\n{имя}", "Вот и всё.\n"),
        ("Ваш запрос {request} принят", "Ваш запрос принят"),
        ("{nobody}", "{nobody}"),
        ("{{имя}}", "{{имя}}"),
    ],
)
def test_an_unknown_value_is_left_out_with_its_comma(text: str, expected: str) -> None:
    assert canned_variables.fill_variables(text, {"first_name": "", "request": ""}) == expected


def test_a_value_is_not_searched_for_variables() -> None:
    assert canned_variables.fill_variables("{клиент}", {"client": "{operator}", "operator": "boris"}) == "{operator}"


def test_search_and_channels_narrow_the_list(desk: Client, chat: Conversation) -> None:
    CannedResponse.objects.create(name="адрес", text="Лиговский, 50")
    CannedResponse.objects.create(name="часы", text="С 9 до 21")
    CannedResponse.objects.create(name="старое", text="Лиговский, 48", is_used=False)
    elsewhere = CannedResponse.objects.create(name="чужое", text="Лиговский, 1")
    elsewhere.chat_channels.add(ChatChannelFactory())

    assert "адрес" in listed_names(desk, chat) and "часы" in listed_names(desk, chat)
    found = listed_names(desk, chat, "лиговский 5")
    assert "адрес" in found and "часы" not in found and "чужое" not in found and "старое" not in found
    assert "No quick replies match" in listed_names(desk, chat, "ничего")


def test_without_javascript_a_response_is_put_into_the_composer(desk: Client, chat: Conversation) -> None:
    answer = CannedResponse.objects.create(name="адрес", text="Лиговский, 50")

    page = desk.get(f"/chats/{chat.pk}/canned-responses/").content.decode()
    composer = desk.get(f"/chats/{chat.pk}/canned-responses/?take={answer.pk}").content.decode()

    assert f"?take={answer.pk}" in page
    assert ">Лиговский, 50</textarea>" in composer


def test_an_operator_sees_no_responses_in_another_operators_chat(chat: Conversation, client: Client) -> None:
    client.force_login(gleb())

    assert client.get(f"/chats/{chat.pk}/canned-responses/").status_code == 404


def test_an_unknown_variable_is_refused_in_the_admin(client: Client) -> None:
    client.force_login(vera())
    client.defaults["HTTP_ACCEPT_LANGUAGE"] = "en"
    form = {"name": "привет", "text": "Здравствуйте, {имяклиента}!", "is_used": "on"}

    refused = client.post("/admin/bridge/cannedresponse/add/", form)
    response = client.post("/admin/bridge/cannedresponse/add/", form | {"text": "Здравствуйте, {имя клиента}!"})

    assert "Unknown variable {имяклиента}" in refused.content.decode()
    assert response.status_code == 302 and CannedResponse.objects.get().name == "привет"
