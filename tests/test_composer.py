"""Template panel of the composer: recognition, picker, fields, sending, held replies, prefilled values."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from bridge.conversations import consents, receiving
from bridge.desk import refusals
from bridge.desk.composer import prefill
from bridge.models import Conversation, Draft, HeldReply, Message, OptOut, OptOutSource
from bridge.outcomes.reply_reasons import REPLY_REASONS
from bridge.relay import held_replies
from channels_setup.models import ApiChannel
from channels_setup.providers.base import ContactInfo, MessageReceived
from templates_registry import lifecycle
from templates_registry.content.components import Variable, VariablePlace
from templates_registry.lifecycle import ChangeAuthor, Source
from templates_registry.models import Status, Template, TemplateTags
from tests.factories import ApiChannelFactory, TemplateFactory, boris, gleb, vera
from tests.pages import SCRIPT, page_html, signed_in
from tests.scenarios.sending import move_windows_back, receive_text

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("in_english")]
READY = "Здравствуйте, Анна! Ваш заказ № 42 готов к выдаче."


@pytest.fixture
def template(channel: ApiChannel) -> Template:
    variables = [{"key": "1", "label": "Имя клиента"}, {"key": "2", "label": "Номер заказа"}]
    template: Template = TemplateFactory(api_channel=channel, name="order_ready", variables=variables)
    return template


def anna_writes(channel: ApiChannel, text: str = "Здравствуйте") -> Conversation:
    return receive_text(channel, text, name="Анна Соколова").conversation


@pytest.fixture
def chat(channel: ApiChannel) -> Conversation:
    """Return a chat with a closed window."""
    chat = anna_writes(channel)
    move_windows_back(timedelta(hours=25))
    return chat


@pytest.fixture
def desk(chat: Conversation, client: Client) -> Client:
    return signed_in(client, boris(chat.chat_channel))


def typed(desk: Client, chat: Conversation, text: str, **more: str) -> str:
    """Return the panel for a text in the composer, or an empty string."""
    answer = desk.post(f"/chats/{chat.pk}/templates/recognize/", {"text": text} | more, headers=SCRIPT)
    assert answer.status_code in (200, 204)
    return str(answer.content.decode())


def kind(panel: str) -> str:
    found = re.search(r'data-kind="(\w+)"', panel)
    return found[1] if found else ""


def values(panel: str) -> dict[str, str]:
    return dict(re.findall(r'name="v\.([\w.]+)"[^>]*>\n(.*?)</textarea>', panel, re.DOTALL))


def box(panel: str) -> str:
    found = re.search(r'data-part="text">(.*?)</output>', panel, re.DOTALL)
    return found[1] if found else ""


# --- recognition while typing ----------------------------------------------------------------------------


def test_pasted_template_text_shows_its_values_as_fields(desk: Client, chat: Conversation, template: Template) -> None:
    panel = typed(desk, chat, f"  {READY}\r\n")

    assert kind(panel) == "recognized" and 'class="tp good"' in panel
    assert 'Recognized template <b class="mono">order_ready</b> · ru' in panel
    assert values(panel) == {"1": "Анна", "2": "№ 42"}
    assert "Здравствуйте, <mark>Анна</mark>! Ваш заказ <mark>№ 42</mark> готов" in panel
    assert "disabled" not in panel


def test_an_edited_field_changes_the_text(desk: Client, chat: Conversation, template: Template) -> None:
    edited = {"v.1": "Анна", "v.2": "№ 43", "kind": "recognized"}

    panel = desk.post(f"/chats/{chat.pk}/templates/{template.pk}/", edited, headers=SCRIPT).content.decode()

    assert box(panel) == "Здравствуйте, Анна! Ваш заказ № 43 готов к выдаче."
    picked = desk.post(f"/chats/{chat.pk}/templates/{template.pk}/", edited | {"kind": "?"}, headers=SCRIPT)
    assert box(picked.content.decode()) == ""


def test_a_near_miss_shows_the_differences_and_keeps_the_values(
    desk: Client, chat: Conversation, template: Template
) -> None:
    panel = typed(desk, chat, "Здравствуйте, Анна! Ваш заказ № 42 готово к выдаче.")

    assert kind(panel) == "near"
    assert "approved: <ins>готов</ins>" in panel and "yours: <del>готово</del>" in panel
    taken = dict(re.findall(r'type="hidden" name="(v\.\d)" value="(.*?)"', panel))
    assert taken == {"v.1": "Анна", "v.2": "№ 42"}
    answer = desk.post(
        f"/chats/{chat.pk}/templates/{template.pk}/", taken | {"kind": "recognized", "open": "1"}, headers=SCRIPT
    )
    assert box(answer.content.decode()) == READY


def test_text_that_matches_two_templates_offers_both_with_values(
    desk: Client, chat: Conversation, template: Template
) -> None:
    other = TemplateFactory(api_channel=template.api_channel, name="order_any", body="Здравствуйте, {{1}} к выдаче.")

    panel = typed(desk, chat, READY)

    assert kind(panel) == "ambiguous"
    choices = re.findall(r'formaction="(.*?)" name="choice" value="(.*?)"', panel)
    assert len(choices) == 2
    values = {address: json.loads(value.replace("&quot;", '"')) for address, value in choices}
    address = f"/chats/{chat.pk}/templates/{other.pk}/"
    assert values[address] == {"1": "Анна! Ваш заказ № 42 готов"}
    chosen = desk.post(address, {"choice": json.dumps(values[address]), "open": "1"}, headers=SCRIPT).content.decode()
    assert kind(chosen) == "recognized" and box(chosen) == READY


@pytest.mark.parametrize("choice", ["[", "[1]", '{"1": 2}', "x" * 50_000])
def test_a_broken_choice_is_no_server_error(desk: Client, chat: Conversation, template: Template, choice: str) -> None:
    answer = desk.post(f"/chats/{chat.pk}/templates/{template.pk}/", {"choice": choice}, headers=SCRIPT)

    assert values(answer.content.decode()) == {"1": "", "2": ""}


def test_an_empty_variable_is_prefilled_from_the_chat(desk: Client, chat: Conversation, template: Template) -> None:
    panel = typed(desk, chat, "Здравствуйте, {{1}}! Ваш заказ {{2}} готов к выдаче.")

    assert kind(panel) == "recognized" and 'class="tp warn"' in panel
    assert values(panel) == {"1": "Анна", "2": ""}
    assert "not ready yet" in panel and "1 value is not filled in." in panel and "disabled" in panel


def test_a_previous_template_text_offers_the_new_one(desk: Client, chat: Conversation, template: Template) -> None:
    definition = TemplateFactory(body="Добрый день, {{1}}! Заказ {{2}} ждёт вас.").definition
    lifecycle.change_text(template, definition, by=ChangeAuthor(source=Source.PROVIDER))

    panel = typed(desk, chat, READY)

    assert kind(panel) == "near"
    assert "previous text" in panel and "Use the new text" in panel
    assert 'name="v.1" value="Анна"' in panel


def test_a_paused_template_says_so_and_offers_alternatives(
    desk: Client, chat: Conversation, template: Template
) -> None:
    lifecycle.change_status(template, Status.PAUSED, by=ChangeAuthor(source=Source.PROVIDER))

    panel = typed(desk, chat, READY)

    assert kind(panel) == "notice" and "paused" in panel and "Hold this text" in panel


def test_free_text_shows_no_panel_until_it_is_sent(desk: Client, chat: Conversation, template: Template) -> None:
    assert typed(desk, chat, "Поменяем завтра") == ""

    panel = typed(desk, chat, "Поменяем завтра", sent="1")

    assert kind(panel) == "notice" and "Hold this text" in panel


def test_a_client_who_opted_out_is_offered_no_template(desk: Client, chat: Conversation, template: Template) -> None:
    consents.set_opt_out(chat.contact_id, OptOut.ALL, source=OptOutSource.OPERATOR)
    assert typed(desk, chat, "Поменяем завтра") == ""

    panel = typed(desk, chat, "Поменяем завтра", sent="1")

    assert kind(panel) == "notice" and "opted out" in panel
    assert "Choose a template" not in panel and "Hold this text" not in panel


def test_an_open_window_recognizes_templates_only_if_enabled(
    desk: Client, channel: ApiChannel, template: Template
) -> None:
    chat = anna_writes(channel)

    assert typed(desk, chat, READY) == ""
    assert "data-recognizes" not in page_html(desk, f"/chats/{chat.pk}/")
    ApiChannel.objects.update(template_in_window=True)
    assert kind(typed(desk, chat, READY)) == "recognized"
    assert typed(desk, chat, READY.replace("готов", "готово")) == ""
    assert "data-recognizes" in desk.get(f"/chats/{chat.pk}/").content.decode()


def test_text_hidden_by_operator_tags_is_not_shown(desk: Client, chat: Conversation, template: Template) -> None:
    Template.objects.update(tags=["склад"])
    TemplateTags.objects.create(user=boris(), tags=["витрина"])

    assert typed(desk, chat, READY) == ""
    assert desk.post(f"/chats/{chat.pk}/templates/{template.pk}/", headers=SCRIPT).status_code == 404


# --- picked ----------------------------------------------------------------------------------------------


def test_the_picker_offers_what_can_be_sent_here(desk: Client, chat: Conversation, template: Template) -> None:
    more = {"api_channel": template.api_channel}
    liked = TemplateFactory(name="z_liked", body="Ждём вас, {{1}}!", **more)
    lifecycle.set_favorite(liked.pk, user=boris(), is_favorite=True)
    TemplateFactory(name="paused", status=Status.PAUSED, **more)
    TemplateFactory(name="elsewhere")

    def picks(query: str = "") -> list[str]:
        answer = desk.get(f"/chats/{chat.pk}/templates/?find={query}", headers=SCRIPT)
        return re.findall(r'<b class="cut">(.*?)</b>', answer.content.decode())

    assert picks() == ["z_liked", "order_ready"]
    assert picks("выдаче") == ["order_ready"]
    assert picks("нет такого") == []


def test_a_picked_template_is_sent_and_the_text_stays_a_draft(
    desk: Client, chat: Conversation, template: Template
) -> None:
    opened = desk.post(f"/chats/{chat.pk}/templates/{template.pk}/", {"open": "picked"}, headers=SCRIPT)
    assert kind(opened.content.decode()) == "picked" and values(opened.content.decode())["1"] == "Анна"

    posted = {"v.1": "Анна", "v.2": "№ 42", "kind": "picked", "text": "И ещё кое-что"}
    sent = desk.post(f"/chats/{chat.pk}/templates/{template.pk}/send/", posted, headers=SCRIPT)

    assert sent.json() == {"sent": True, "sentence": ""}
    assert Message.objects.get(direction="outbound").text == READY
    assert Draft.objects.get().text == "И ещё кое-что"


def test_a_recognized_text_leaves_no_draft(desk: Client, chat: Conversation, template: Template) -> None:
    desk.post(f"/chats/{chat.pk}/draft/", {"text": READY})

    posted = {"v.1": "Анна", "v.2": "№ 42", "kind": "recognized", "text": READY}
    answer = desk.post(f"/chats/{chat.pk}/templates/{template.pk}/send/", posted)

    assert answer["Location"] == f"/chats/{chat.pk}/"
    assert not Draft.objects.exists()
    assert "Template · order_ready" in desk.get(f"/chats/{chat.pk}/").content.decode()


def test_an_incomplete_template_is_not_sent(desk: Client, chat: Conversation, template: Template) -> None:
    posted = {"v.1": "Анна", "v.2": "", "text": READY}

    by_script = desk.post(f"/chats/{chat.pk}/templates/{template.pk}/send/", posted, headers=SCRIPT).json()
    by_form = desk.post(f"/chats/{chat.pk}/templates/{template.pk}/send/", posted)

    assert by_script["sent"] is False and "Номер заказа" in by_script["sentence"]
    assert by_form.status_code == 422 and values(by_form.content.decode())["1"] == "Анна"
    assert not Message.objects.filter(direction="outbound").exists()


def test_a_refused_reply_shows_the_panel_without_scripts(desk: Client, chat: Conversation, template: Template) -> None:
    answer = desk.post(f"/chats/{chat.pk}/send/", {"text": READY.replace("готов", "готово")})

    assert answer.status_code == 422
    assert kind(answer.content.decode()) == "near"


def test_picker_and_panel_work_without_scripts(desk: Client, chat: Conversation, template: Template) -> None:
    picker = desk.get(f"/chats/{chat.pk}/templates/").content.decode()
    panel = desk.post(f"/chats/{chat.pk}/templates/{template.pk}/", {"open": "picked", "text": "Моё"}).content.decode()

    assert 'id="chat_header"' in picker and kind(picker) == "picker"
    assert kind(panel) == "picked" and ">Моё</textarea>" in panel


def test_other_users_cannot_reach_the_chat_or_its_templates(
    chat: Conversation, template: Template, client: Client
) -> None:
    client.force_login(gleb())
    here = f"/chats/{chat.pk}"

    assert client.get(f"{here}/templates/").status_code == 404
    for what in ("recognize/", f"{template.pk}/", f"{template.pk}/send/", f"{template.pk}/hold/"):
        assert client.post(f"{here}/templates/{what}", {"text": READY}).status_code == 404
    assert client.post(f"{here}/held/1/unhold/").status_code == 404
    assert not Message.objects.filter(direction="outbound").exists()


def test_a_template_of_another_channel_cannot_be_used(desk: Client, chat: Conversation) -> None:
    elsewhere = TemplateFactory(api_channel=ApiChannelFactory(watched=list(chat.api_channel.watched.all())))

    for what in ("", "send/", "hold/"):
        assert desk.post(f"/chats/{chat.pk}/templates/{elsewhere.pk}/{what}", headers=SCRIPT).status_code == 404


def test_values_cannot_become_markup(desk: Client, chat: Conversation, template: Template) -> None:
    evil = "<img src=x onerror=alert(1)>\"'</textarea><script>alert(1)</script>"

    panel = desk.post(f"/chats/{chat.pk}/templates/{template.pk}/", {"v.1": evil, "kind": "recognized"}, headers=SCRIPT)

    assert "<script" not in panel.content.decode() and "<img" not in panel.content.decode()


# --- held ------------------------------------------------------------------------------------------------


@pytest.fixture
def opener(channel: ApiChannel) -> Template:
    template: Template = TemplateFactory(api_channel=channel, name="we_answered", body="Мы ответили. Напишите нам.")
    return template


def holds(desk: Client, chat: Conversation, opener: Template, text: str = "Поменяем завтра") -> Any:
    return desk.post(f"/chats/{chat.pk}/templates/{opener.pk}/hold/", {"text": text}, headers=SCRIPT).json()


def shown(desk: Client, chat: Conversation) -> str:
    return str(desk.get(f"/chats/{chat.pk}/").content.decode())


def test_a_held_reply_is_shown_and_sent_when_the_client_writes(
    desk: Client, chat: Conversation, channel: ApiChannel, opener: Template
) -> None:
    assert holds(desk, chat, opener)["sent"] is True
    assert "Held until the client writes" in shown(desk, chat)
    version = re.search(r'data-version="([^"]+)" data-seen-url', shown(desk, chat))

    anna_writes(channel, "Что у вас?")
    held_replies.release_held_replies([chat.pk])

    page = shown(desk, chat)
    assert "Held until the client writes" not in page
    assert "sent when the client wrote" in page
    assert HeldReply.objects.get().state == "released"
    assert version and version[1] not in page


def test_a_held_reply_is_unheld(desk: Client, chat: Conversation, opener: Template) -> None:
    holds(desk, chat, opener)
    number = HeldReply.objects.get().pk
    before = shown(desk, chat)

    assert desk.post(f"/chats/{chat.pk}/held/{number}/unhold/", headers=SCRIPT).status_code == 204
    assert desk.post(f"/chats/{chat.pk}/held/{number}/unhold/", headers=SCRIPT).status_code == 422

    assert "Unhold" in before and "Unhold" not in shown(desk, chat)
    assert Draft.objects.get().text == "Поменяем завтра"


def test_an_empty_text_is_not_held(desk: Client, chat: Conversation, opener: Template) -> None:
    assert holds(desk, chat, opener, text=" ")["sent"] is False
    assert holds(desk, chat, opener, text="я" * 5_000)["sent"] is False

    assert not HeldReply.objects.exists() and not Message.objects.filter(direction="outbound").exists()


def test_a_held_reply_cannot_be_reached_through_another_chat(
    desk: Client, chat: Conversation, opener: Template
) -> None:
    holds(desk, chat, opener)
    fact = MessageReceived(contact=ContactInfo(external_id="igor", name="Игорь"), text="?")
    made = receiving.receive_messages(
        chat.api_channel, [receiving.IncomingMessage(fact=fact, chat_channel=chat.chat_channel)]
    )
    other = made[0].conversation

    number = HeldReply.objects.get().pk
    assert desk.post(f"/chats/{other.pk}/held/{number}/unhold/", headers=SCRIPT).status_code == 422
    assert HeldReply.objects.get().state == "held"


def test_admins_can_view_but_not_change_held_replies(desk: Client, chat: Conversation, opener: Template) -> None:
    holds(desk, chat, opener)
    number = HeldReply.objects.get().pk
    desk.force_login(vera())

    assert "Поменяем завтра" in desk.get("/admin/bridge/heldreply/?state=held").content.decode()
    assert "Поменяем завтра" not in page_html(desk, "/admin/bridge/heldreply/?state=dropped")
    assert "Поменяем завтра" in desk.get(f"/admin/bridge/heldreply/{number}/change/").content.decode()
    assert desk.post(f"/admin/bridge/heldreply/{number}/change/", {"text": "?"}).status_code == 403


# --- known values ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "is_name"),
    [
        (Variable("1", label="Имя клиента"), True),
        (Variable("1", label="Клиент"), True),
        (Variable("first_name"), True),
        (Variable("1", hint="Client's name"), True),
        (Variable("1", example="Анна"), True),
        (Variable("1", label="Номер заказа", example="Анна"), False),
        (Variable("1", label="Название магазина"), False),
        (Variable("product_name"), False),
        (Variable("1", label="Имя менеджера"), False),
        (Variable("1", label="Телефон клиента"), False),
        (Variable("1", example="Москва"), False),
        (Variable("1"), False),
        (Variable("header.1", place=VariablePlace.HEADER, example="Анна"), True),
    ],
)
def test_variables_that_mean_the_clients_name(variable: Variable, is_name: bool) -> None:
    assert prefill.is_person_name(variable) is is_name


@pytest.mark.parametrize(
    ("name", "example", "expected"),
    [
        ("Анна Соколова", "Мария", "Анна"),
        ("Анна Соколова", "", "Анна Соколова"),
        ("Анна", "Мария Иванова", "Анна"),
        ("  ", "Мария", ""),
    ],
)
def test_a_prefilled_name_has_as_many_words_as_the_example(name: str, example: str, expected: str) -> None:
    assert prefill.shorten_name(name, example) == expected


# --- templates offered in a closed window ----------------------------------------------------------------


def test_a_closed_window_offers_the_first_templates(desk: Client, chat: Conversation, template: Template) -> None:
    for number in range(4):
        TemplateFactory(api_channel=template.api_channel, name=f"b_{number}", body=f"Текст {number}")
    lifecycle.set_favorite(template.pk, user=boris(), is_favorite=True)

    page = desk.get(f"/chats/{chat.pk}/").content.decode()

    offers = re.findall(r'class="offer" formaction="/chats/\d+/templates/(\d+)/"', page)
    assert len(offers) == 3 and offers[0] == str(template.pk)
    assert "All templates" in page and "[Имя клиента]" in page


def test_an_open_window_offers_no_templates(desk: Client, chat: Conversation, template: Template) -> None:
    anna_writes(template.api_channel, "Снова я")

    assert 'class="offer"' not in page_html(desk, f"/chats/{chat.pk}/")


def test_a_template_form_posted_twice_sends_once(desk: Client, chat: Conversation, template: Template) -> None:
    form = {"v.1": "Анна", "v.2": "№ 42", "kind": "picked", "key": "abcdefgh1234", "text": ""}
    hold = form | {"text": "Подробности позже", "key": "hgfedcba4321"}

    sent = [desk.post(f"/chats/{chat.pk}/templates/{template.pk}/send/", form, headers=SCRIPT) for _ in "12"]
    kept = [desk.post(f"/chats/{chat.pk}/templates/{template.pk}/hold/", hold, headers=SCRIPT) for _ in "12"]

    assert [answer.json()["sent"] for answer in sent + kept] == [True] * 4
    assert Message.objects.filter(kind=Message.Kind.TEMPLATE).count() == 2
    assert HeldReply.objects.count() == 1


def test_a_refusal_of_the_closed_window_ends_with_it(desk: Client, chat: Conversation, channel: ApiChannel) -> None:
    desk.post(f"/chats/{chat.pk}/send/", {"text": "Просто слова"}, headers=SCRIPT)
    assert Draft.objects.get().reason == "window_closed"
    assert "Only an approved template can be sent now" in page_html(desk, f"/chats/{chat.pk}/")
    poll = lambda: desk.get("/chats/updates/", {"chat": chat.pk, "thread": "0"}).json()["thread"]  # noqa: E731
    assert (poll()["refusal_until"], poll()["ended"]) == ("text template window", ["consent"])

    anna_writes(channel, "Алло?")

    html = page_html(desk, f"/chats/{chat.pk}/")
    assert "Only an approved template can be sent now" not in html and "Просто слова</textarea>" in html
    assert (poll()["refusal"], poll()["ended"]) == ("", ["consent", "window"])


def test_a_refusal_says_what_ends_it(desk: Client, chat: Conversation, channel: ApiChannel) -> None:
    def refuse(**form: str) -> str:
        answer: dict[str, str] = desk.post(f"/chats/{chat.pk}/send/", form, headers=SCRIPT).json()
        return answer["until"]

    assert refuse(text="Просто слова") == "text template window"
    anna_writes(channel, "Алло?")
    assert refuse(text="x" * 4097) == "text"
    assert refuse(text="Да", replies_to="0") == "quote"
    assert refuse(text="Да", upload="0") == "files"
    assert refuse(text=" ") == "text files"
    assign = desk.post(f"/chats/{chat.pk}/assign/", {"user": "0"}, headers=SCRIPT).json()
    assert assign["until"] == "action text"


def test_a_channel_without_templates_says_what_to_do(desk: Client, chat: Conversation) -> None:
    sentence = "This channel has no approved templates that you can send. Ask an admin to add them."

    assert sentence in page_html(desk, f"/chats/{chat.pk}/")
    assert sentence in page_html(desk, f"/chats/{chat.pk}/templates/")
    panel = typed(desk, chat, "Ваш заказ готов", sent="1")
    assert sentence in panel and "Hold this text" not in panel and "Choose a template" not in panel


def test_an_open_window_does_not_end_the_refusal_of_a_template(
    desk: Client, chat: Conversation, channel: ApiChannel, template: Template
) -> None:
    consents.set_opt_out(chat.contact_id, OptOut.ALL, source=OptOutSource.OPERATOR)
    address = f"/chats/{chat.pk}/templates/{template.pk}/send/"
    form = {"v.1": "Анна", "v.2": "№ 42", "kind": "picked", "text": ""}

    assert desk.post(address, form, headers=SCRIPT).json()["until"] == "text template window consent"
    anna_writes(channel, "Алло?")
    assert desk.post(address, form, headers=SCRIPT).json()["until"] == "text template consent"


def test_every_refusal_of_a_reply_has_an_end() -> None:
    later = {"reaction_replaced", "held_reply_dropped", "held_reply_dropped_text"}  # not shown in the composer
    assert set(refusals.ENDS) == set(REPLY_REASONS) - later
