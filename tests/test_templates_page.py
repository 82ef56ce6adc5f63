"""Templates page of operators: access, list, preview of the message, timeline, sending to a chat."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from bridge.models import Message
from channels_setup.models import ApiChannel
from templates_registry import lifecycle
from templates_registry.content.components import TemplateDefinition
from templates_registry.lifecycle import ChangeAuthor, Source
from templates_registry.models import Status, Template, TemplateEvent, TemplateUse
from templates_registry.preview import TemplatePreview, html_with_marks, values_from_form
from templates_registry.timeline import format_span
from tests.factories import (
    ApiChannelFactory,
    ConversationFactory,
    MessageFactory,
    TemplateFactory,
    TicketFactory,
    boris,
    gleb,
    vera,
)
from tests.pages import SCRIPT

pytestmark = pytest.mark.django_db
HAND = ChangeAuthor(source=Source.MANUAL)


@pytest.fixture
def template(channel: ApiChannel) -> Template:
    template: Template = TemplateFactory(
        api_channel=channel,
        name="order_ready",
        header={"format": "TEXT", "text": "Заказ готов"},
        body="Здравствуйте, {{1}}! Ваш заказ {{2}} *готов* к выдаче.",
        footer="Ежедневно с 9 до 21",
        buttons=[{"type": "QUICK_REPLY", "text": "Как добраться"}],
        variables=[{"key": "1", "label": "Имя клиента", "hint": "Как в чате"}, {"key": "2", "label": "Номер заказа"}],
    )
    return template


@pytest.fixture
def desk(client: Client, channel: ApiChannel) -> Client:
    client.force_login(boris(*channel.watched.all()))
    client.cookies["django_language"] = "en"
    return client


def html(response: Any) -> str:
    assert response.status_code == 200, response.status_code
    return str(response.content.decode())


def listed(response: Any) -> list[str]:
    return re.findall(r'<b class="cut">(.*?)</b>', html(response))


def filled(desk: Client, template: Template, **values: str) -> str:
    """Return the fragment that the page's script gets while an operator types."""
    posted = {f"v.{key.lstrip('_')}": value for key, value in values.items()}
    return html(desk.post(f"/templates/{template.pk}/", posted, headers=SCRIPT))


# --- access ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["/templates/", "/templates/1/", "/templates/1/send/"])
def test_the_page_asks_for_a_login(client: Client, address: str) -> None:
    assert client.get(address)["Location"].startswith("/login/")


def test_templates_of_other_channels_are_not_found(client: Client, template: Template) -> None:
    client.force_login(gleb())

    assert listed(client.get("/templates/")) == []
    assert client.get(f"/templates/{template.pk}/").status_code == 404
    assert client.post(f"/templates/{template.pk}/favorite/", {"on": "1"}).status_code == 404
    assert client.post(f"/templates/{template.pk}/send/").status_code == 404
    client.force_login(vera())
    assert listed(client.get("/templates/")) == ["order_ready"]


def test_the_rail_has_a_link_to_the_page(desk: Client) -> None:
    assert 'href="/templates/"' in html(desk.get("/chats/"))


# --- list ------------------------------------------------------------------------------------------------


def test_favorites_are_first_then_recently_used_templates(desk: Client, template: Template) -> None:
    channel, user = template.api_channel, boris()
    used, liked = (TemplateFactory(api_channel=channel, name=name) for name in ("z_used", "y_liked"))
    TemplateFactory(api_channel=channel, name="a_paused", status=Status.PAUSED)
    lifecycle.record_use(used.pk, user=user)
    desk.post(f"/templates/{liked.pk}/favorite/", {"on": "1"})

    page = desk.get("/templates/")

    assert listed(page) == ["y_liked", "z_used", "order_ready", "a_paused"]
    assert re.findall(r'<h2 class="group">(.*?)</h2>', html(page)) == ["Favorites", "Recently used", "Other"]
    desk.post(f"/templates/{liked.pk}/favorite/", {"on": "0"})
    assert listed(desk.get("/templates/"))[0] == "z_used"


def test_a_template_used_long_ago_is_not_recent(desk: Client, template: Template) -> None:
    used = TemplateFactory(api_channel=template.api_channel, name="z_used")
    lifecycle.record_use(used.pk, user=boris())
    TemplateUse.objects.update(last_used_at=timezone.now() - timedelta(days=20))

    assert listed(desk.get("/templates/")) == ["order_ready", "z_used"]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("q=выдаче+здравствуйте", ["order_ready"]),
        ("q=ORDER_", ["order_ready"]),
        ("q=%22%5C%25", []),
        ("status=paused", ["sale"]),
        ("status=archived", ["old"]),
        ("language=en", ["sale"]),
        ("category=MARKETING", ["sale"]),
        ("channel=12345678901234567", []),
        ("channel=x&status=x&category=x&shown=x", ["order_ready", "sale"]),
    ],
)
def test_the_list_is_searched_and_filtered(desk: Client, template: Template, query: str, names: list[str]) -> None:
    more: dict[str, Any] = {"api_channel": template.api_channel}
    TemplateFactory(name="sale", language="en", category="MARKETING", status=Status.PAUSED, body="Sale {{1}}!", **more)
    TemplateFactory(name="old", status=Status.ARCHIVED, body="Было", **more)
    TemplateFactory(name="gone", status=Status.DELETED, **more)

    assert listed(desk.get(f"/templates/?{query}")) == names
    assert listed(desk.get(f"/templates/?{query}", headers=SCRIPT)) == names


def test_a_long_list_has_a_next_page(desk: Client, template: Template) -> None:
    for number in range(61):
        TemplateFactory(api_channel=template.api_channel, name=f"t{number}")

    assert len(listed(desk.get("/templates/"))) == 60
    assert len(listed(desk.get("/templates/?shown=120"))) == 62


# --- message ---------------------------------------------------------------------------------------------


def test_the_page_previews_the_message_on_the_phone(desk: Client, template: Template) -> None:
    page = filled(desk, template, _1="Анна", _2="№ 42")

    assert "Здравствуйте, Анна! Ваш заказ № 42 <strong>готов</strong> к выдаче." in page
    assert '<b class="wa-header" dir="auto">Заказ готов</b>' in page
    assert "Ежедневно с 9 до 21" in page and "Как добраться" in page
    assert "52 of 1024 characters" in page


def test_values_are_inserted_once_and_escaped(desk: Client, template: Template) -> None:
    page = filled(desk, template, _1="{{2}} <script>alert(1)</script>", _2="№ 42")

    assert "Здравствуйте, {{2}} &lt;script&gt;alert(1)&lt;/script&gt;! Ваш заказ № 42" in page
    assert "<script>alert" not in page


def test_an_invalid_value_is_explained_at_its_field(desk: Client, template: Template) -> None:
    page = filled(desk, template, _1="", _2="№ 42\tсрочно")

    assert "“Номер заказа” contains a tab" in page
    assert page.count('aria-invalid="true"') == 1
    assert "Not filled in." in page and "1 value is not filled in." in page


def test_a_message_that_is_too_long_is_reported_with_its_length(desk: Client, template: Template) -> None:
    page = filled(desk, template, _1="я" * 1100, _2="№ 42")

    assert "1148 of 1024 characters" in page
    assert "at most 1024 can be sent" in page


def test_the_page_works_without_scripts(desk: Client, template: Template) -> None:
    page = html(desk.post(f"/templates/{template.pk}/?q=order", {"v.1": "Анна", "v.2": "№ 42", "v.9": "?", "x": "?"}))

    assert "<title>order_ready" in page
    assert 'data-copy="Заказ готов\nЗдравствуйте, Анна! Ваш заказ № 42 *готов* к выдаче.\nЕжедневно с 9 до 21"' in page
    assert ">\nАнна</textarea>" in page


def test_fields_have_labels_hints_and_examples(desk: Client, template: Template) -> None:
    page = html(desk.get(f"/templates/{template.pk}/"))

    assert "<span>Имя клиента</span>" in page
    assert "Как в чате · Example: Анна" in page


def test_broken_components_are_no_server_error(desk: Client, template: Template) -> None:
    Template.objects.update(components={"no": "list"})

    assert "cannot be shown" in html(desk.get(f"/templates/{template.pk}/"))
    assert listed(desk.get("/templates/")) == ["order_ready"]


def test_the_page_has_no_inline_script_or_style(desk: Client, template: Template) -> None:
    for address in ("/templates/", f"/templates/{template.pk}/", f"/templates/{template.pk}/send/"):
        page = html(desk.get(address))
        assert not re.search(r"<script(?![^>]*\bsrc=)(?![^>]*json)", page) and " style=" not in page
        assert not re.search(r"\son\w+=", page)


def test_the_timeline_describes_each_event(desk: Client, template: Template) -> None:
    lifecycle.change_text(template, _with_body(template, "Здравствуйте, {{1}}! Ваш заказ {{2}} собран."), by=HAND)
    lifecycle.change_status(template, Status.PENDING, by=ChangeAuthor(source=Source.MANUAL, user=vera()))
    TemplateEvent.objects.filter(to_status="pending").update(at=timezone.now() - timedelta(days=1, hours=4))
    lifecycle.change_status(template, Status.APPROVED, by=ChangeAuthor(source=Source.PROVIDER))
    lifecycle.change_category(template, "MARKETING", by=ChangeAuthor(source=Source.PROVIDER))
    lifecycle.change_status(template, Status.REJECTED, by=ChangeAuthor(source=Source.PROVIDER), reason="Реклама")

    page = html(desk.get(f"/templates/{template.pk}/"))

    assert "Approved (after 1 day 4 hours)" in page
    assert re.search(r"“\*готов\*[^”]*” replaced by “", page)
    assert "Sent for approval" in page and ">vera<" in page
    assert "Category: utility → marketing" in page
    assert "Rejected: Реклама" in page and "Send to a chat" not in page


def _with_body(template: Template, body: str) -> TemplateDefinition:
    return replace(template.definition, body=body)


@pytest.mark.parametrize(
    ("span", "words"),
    [
        (timedelta(seconds=20), "0 minutes"),
        (timedelta(minutes=61), "1 hour 1 minute"),
        (timedelta(hours=50, minutes=3), "2 days 2 hours"),
        (-timedelta(hours=1), "0 minutes"),
    ],
)
def test_durations_are_written_in_words(in_english: None, span: timedelta, words: str) -> None:
    assert format_span(span) == words


# --- markup ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "Заказ *готов*, _приходите_, ~завтра~ сегодня",
        "*_оба_ вместе* и *не\nжирный*",
        "```  две\nстроки ``` и `код`",
        "Смотрите (https://shop.example/a_b_c]) или HTTP://shop.example/{1}.",
        "Пишите a@shop.example или +7 (999) 123-45-67",
        "- чай\n- кофе\n1. раз\n> цитата",
        "<script>alert(1)</script> & <b>",
    ],
)
def test_the_preview_and_the_chat_show_the_same_markup(desk: Client, channel: ApiChannel, text: str) -> None:
    template = TemplateFactory(api_channel=channel, body=text, examples=())
    chat = ConversationFactory(api_channel=channel)
    MessageFactory(conversation=chat, text=text)

    preview = filled(desk, template).partition('<div class="wa-body" dir="auto">')[2].partition("</div>")[0]
    bubble = html(desk.get(f"/chats/{chat.pk}/")).partition('<div class="text" dir="auto">')[2].partition("</div>")[0]

    assert preview == bubble != ""


# --- marked values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "value", "marked_up"),
    [
        ("Заказ {{1}} готов", "42", "Заказ <mark>42</mark> готов"),
        ("Заказ *{{1}}* готов", "42", "Заказ <strong><mark>42</mark></strong> готов"),
        ("Заказ *{{1}} готов*", "4* 2", "Заказ <strong>4</strong> 2 готов*"),
        ("См. https://x.example/{{1}} тут", "a", ">https://x.example/<mark>a</mark></a> тут"),
        ("Заказ {{1}} готов", "\ue000<b>\ue001", "Заказ <mark>&lt;b&gt;</mark> готов"),
    ],
)
def test_values_are_marked_without_breaking_the_markup(body: str, value: str, marked_up: str) -> None:
    template = TemplateFactory(body=body)

    found = TemplatePreview(template, {"1": value}).marked_body

    assert marked_up in found
    assert 'href="https://x.example/<' not in found


def test_typed_mark_characters_are_ignored() -> None:
    assert html_with_marks("a \ue001 b \ue000") == "a  b "
    assert values_from_form({"v.1": "\0x", "y": "z"}) == {"1": "x"}


# --- sending to a chat -----------------------------------------------------------------------------------


def test_a_template_is_prefilled_for_a_chat_and_sent(desk: Client, template: Template, channel: ApiChannel) -> None:
    TemplateUse.objects.all().delete()
    chat = ConversationFactory(api_channel=channel, name="Анна Соколова")
    ConversationFactory(api_channel=channel, name="Игорь Панин")
    ConversationFactory(name="Анна Чужая")
    address, known = f"/templates/{template.pk}/send/", {"v.1": "", "v.2": "№ 42"}

    choices = html(desk.post(address, known | {"find": "Анна"}))
    assert "Анна Соколова" in choices and "Панин" not in choices and "Чужая" not in choices
    look = html(desk.post(address, known | {"open": "1", "chat": str(chat.pk)}))
    assert "Здравствуйте, Анна! Ваш заказ № 42" in look
    sent = desk.post(address, {"v.1": "Анна", "v.2": "№ 42", "chat": str(chat.pk), "go": "1"})

    assert sent["Location"] == f"/chats/{chat.pk}/"
    message = Message.objects.get()
    assert message.template["parameters"] == ["Анна", "№ 42"] and message.conversation == chat
    assert TemplateUse.objects.get().user == boris()


def test_an_incomplete_template_is_shown_again_with_the_reason(
    desk: Client, template: Template, channel: ApiChannel
) -> None:
    chat = ConversationFactory(api_channel=channel)

    answer = desk.post(f"/templates/{template.pk}/send/", {"v.1": "Анна", "chat": str(chat.pk), "go": "1"})

    assert answer.status_code == 422
    assert "Номер заказа" in answer.content.decode()
    assert not Message.objects.exists()


def test_a_template_can_be_sent_only_to_own_chats_of_its_channel(desk: Client, template: Template) -> None:
    elsewhere = ConversationFactory()
    same_people = ConversationFactory(api_channel=ApiChannelFactory(watched=list(template.api_channel.watched.all())))

    for chat in (elsewhere, same_people):
        posted = {"v.1": "Анна", "v.2": "1", "chat": str(chat.pk), "go": "1"}
        assert desk.post(f"/templates/{template.pk}/send/", posted).status_code == 404
    assert not Message.objects.exists()


def test_the_requests_number_is_prefilled(desk: Client, channel: ApiChannel) -> None:
    chat = ConversationFactory(api_channel=channel)
    ticket = TicketFactory(conversation=chat)
    template = TemplateFactory(
        api_channel=channel,
        body="По запросу {{1}} есть ответ, {{2}}. Магазин {{3}}.",
        examples=["№ 7", "Анна", "Анна"],
        variables=[{"key": "1", "label": "Номер запроса"}, {"key": "3", "label": "Название магазина клиента"}],
    )

    look = html(desk.post(f"/templates/{template.pk}/send/", {"open": "1", "chat": str(chat.pk)}))

    assert f"По запросу № {ticket.pk} есть ответ, Анна. Магазин [Название магазина клиента]." in look
