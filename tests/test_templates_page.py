"""The page Templates: who sees what, the message as the phone will show it, and on to a chat."""

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
from tests.factories import ApiChannelFactory, ConversationFactory, TemplateFactory, TicketFactory, boris, gleb, vera

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
    """The fragment that a script gets while somebody types."""
    posted = {f"v.{key.lstrip('_')}": value for key, value in values.items()}
    return html(desk.post(f"/templates/{template.pk}/", posted, headers={"HX-Request": "true"}))


# --- who sees what ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["/templates/", "/templates/1/", "/templates/1/send/"])
def test_the_page_asks_for_a_login(client: Client, address: str) -> None:
    assert client.get(address)["Location"].startswith("/login/")


def test_others_templates_are_as_unknown_as_missing_ones(client: Client, template: Template) -> None:
    client.force_login(gleb())

    assert listed(client.get("/templates/")) == []
    assert client.get(f"/templates/{template.pk}/").status_code == 404
    assert client.post(f"/templates/{template.pk}/favorite/", {"on": "1"}).status_code == 404
    assert client.post(f"/templates/{template.pk}/send/").status_code == 404
    client.force_login(vera())
    assert listed(client.get("/templates/")) == ["order_ready"]


def test_the_rail_leads_here(desk: Client) -> None:
    assert 'href="/templates/"' in html(desk.get("/chats/"))


# --- the list --------------------------------------------------------------------------------------------


def test_favorites_stand_first_then_those_used_lately(desk: Client, template: Template) -> None:
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


def test_what_was_used_long_ago_is_no_longer_recent(desk: Client, template: Template) -> None:
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
    assert listed(desk.get(f"/templates/?{query}", headers={"HX-Request": "true"})) == names


def test_a_long_list_goes_on(desk: Client, template: Template) -> None:
    for number in range(61):
        TemplateFactory(api_channel=template.api_channel, name=f"t{number}")

    assert len(listed(desk.get("/templates/"))) == 60
    assert len(listed(desk.get("/templates/?shown=120"))) == 62


# --- the message -----------------------------------------------------------------------------------------


def test_the_message_is_shown_as_the_phone_will_show_it(desk: Client, template: Template) -> None:
    page = filled(desk, template, _1="Анна", _2="№ 42")

    assert "Здравствуйте, Анна! Ваш заказ № 42 <strong>готов</strong> к выдаче." in page
    assert '<b class="wa-header" dir="auto">Заказ готов</b>' in page
    assert "Ежедневно с 9 до 21" in page and "Как добраться" in page
    assert "52 of 1024 characters" in page


def test_values_are_put_in_once_and_never_run(desk: Client, template: Template) -> None:
    page = filled(desk, template, _1="{{2}} <script>alert(1)</script>", _2="№ 42")

    assert "Здравствуйте, {{2}} &lt;script&gt;alert(1)&lt;/script&gt;! Ваш заказ № 42" in page
    assert "<script>alert" not in page


def test_what_is_wrong_is_said_at_the_field(desk: Client, template: Template) -> None:
    page = filled(desk, template, _1="", _2="№ 42\tсрочно")

    assert "“Номер заказа” contains a tab" in page
    assert page.count('aria-invalid="true"') == 1
    assert "Not filled in." in page and "1 value is not filled in." in page


def test_what_is_too_long_is_said_and_counted(desk: Client, template: Template) -> None:
    page = filled(desk, template, _1="я" * 1100, _2="№ 42")

    assert "1148 of 1024 characters" in page
    assert "at most 1024 can be sent" in page


def test_it_works_without_a_script(desk: Client, template: Template) -> None:
    page = html(desk.post(f"/templates/{template.pk}/?q=order", {"v.1": "Анна", "v.2": "№ 42", "v.9": "?", "x": "?"}))

    assert "<title>order_ready" in page
    assert 'data-copy="Заказ готов\nЗдравствуйте, Анна! Ваш заказ № 42 *готов* к выдаче.\nЕжедневно с 9 до 21"' in page
    assert ">\nАнна</textarea>" in page


def test_labels_hints_and_examples_stand_at_the_fields(desk: Client, template: Template) -> None:
    page = html(desk.get(f"/templates/{template.pk}/"))

    assert "<span>Имя клиента</span>" in page
    assert "Как в чате · Example: Анна" in page


def test_broken_components_are_no_server_error(desk: Client, template: Template) -> None:
    Template.objects.update(components={"no": "list"})

    assert "cannot be shown" in html(desk.get(f"/templates/{template.pk}/"))
    assert listed(desk.get("/templates/")) == ["order_ready"]


def test_no_inline_script_or_style_stands_on_the_page(desk: Client, template: Template) -> None:
    for address in ("/templates/", f"/templates/{template.pk}/", f"/templates/{template.pk}/send/"):
        page = html(desk.get(address))
        assert not re.search(r"<script(?![^>]*\bsrc=)(?![^>]*json)", page) and " style=" not in page
        assert not re.search(r"\son\w+=", page)


def test_what_happened_is_told_in_words(desk: Client, template: Template) -> None:
    lifecycle.change_text(template, _said(template, "Здравствуйте, {{1}}! Ваш заказ {{2}} собран."), by=HAND)
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


def _said(template: Template, body: str) -> TemplateDefinition:
    return replace(template.pattern, body=body)


@pytest.mark.parametrize(
    ("span", "words"),
    [
        (timedelta(seconds=20), "0 minutes"),
        (timedelta(minutes=61), "1 hour 1 minute"),
        (timedelta(hours=50, minutes=3), "2 days 2 hours"),
        (-timedelta(hours=1), "0 minutes"),
    ],
)
def test_spans_in_words(in_english: None, span: timedelta, words: str) -> None:
    assert format_span(span) == words


# --- marks -----------------------------------------------------------------------------------------------


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


def test_marks_that_somebody_typed_are_none() -> None:
    assert html_with_marks("a \ue001 b \ue000") == "a  b "
    assert values_from_form({"v.1": "\0x", "y": "z"}) == {"1": "x"}


# --- send in chat… ---------------------------------------------------------------------------------------


def test_a_chat_is_found_filled_in_with_what_it_knows_and_written_to(
    desk: Client, template: Template, channel: ApiChannel
) -> None:
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


def test_what_is_not_ready_comes_back_with_the_reason(desk: Client, template: Template, channel: ApiChannel) -> None:
    chat = ConversationFactory(api_channel=channel)

    answer = desk.post(f"/templates/{template.pk}/send/", {"v.1": "Анна", "chat": str(chat.pk), "go": "1"})

    assert answer.status_code == 422
    assert "Номер заказа" in answer.content.decode()
    assert not Message.objects.exists()


def test_only_own_chats_of_the_same_channel_can_be_written_to(desk: Client, template: Template) -> None:
    elsewhere = ConversationFactory()
    same_people = ConversationFactory(api_channel=ApiChannelFactory(watched=list(template.api_channel.watched.all())))

    for chat in (elsewhere, same_people):
        posted = {"v.1": "Анна", "v.2": "1", "chat": str(chat.pk), "go": "1"}
        assert desk.post(f"/templates/{template.pk}/send/", posted).status_code == 404
    assert not Message.objects.exists()


def test_the_requests_number_is_known_where_it_is_asked_for(desk: Client, channel: ApiChannel) -> None:
    chat = ConversationFactory(api_channel=channel)
    ticket = TicketFactory(conversation=chat)
    template = TemplateFactory(
        api_channel=channel,
        body="По запросу {{1}} есть ответ, {{2}}. Магазин {{3}}.",
        examples=["№ 7", "Анна", "Анна"],
        variables=[{"key": "1", "label": "Номер запроса"}, {"key": "3", "label": "Название магазина клиента"}],
    )

    look = html(desk.post(f"/templates/{template.pk}/send/", {"open": "1", "chat": str(chat.pk)}))

    assert f"По запросу № {ticket.pk} есть ответ, Анна. Магазин {{{{3}}}}." in look
