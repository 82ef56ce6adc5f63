"""Message extras: sentences in the reader's language, and values without loss."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
from django.test import Client
from django.utils import translation

from bridge import message_text
from bridge.inbox import processing
from bridge.models import Message, ServiceWindow
from channels_setup.codecs.message_extras import (
    MISSING,
    UNSUPPORTED,
    compose_own_text,
    compose_text,
    describe_ad,
    format_amount,
)
from channels_setup.codecs.whatsapp_markup import render_html
from channels_setup.models import ApiChannel
from channels_setup.providers.base import ContactInfo, MessageReceived
from channels_setup.providers.whatsapp_cloud.graph_contacts import one_line, several_lines
from channels_setup.providers.whatsapp_cloud.graph_messages import read_content
from tests.factories import token_of, vera
from tests.pages import signed_in

CYRILLIC = re.compile("[а-яё]", re.IGNORECASE)
SHOWN: list[dict[str, Any]] = [
    {"what": "call"},
    {"what": "empty"},
    {"what": "welcome"},
    {"what": "welcome", "ad": {"headline": "Boots", "body": "Half price"}},
    {"what": "order", "own": "", "lines": [{"product": "A", "quantity": "2", "price": "4500", "currency": "RUB"}]},
    {"what": "flow", "own": "", "fields": [["size", "38"]]},
    {"own": "", "product": {"product": "SKU-1"}},
    *({"what": "unsupported", "kind": kind} for kind in (*UNSUPPORTED, "", "unsupported", "of_tomorrow")),
    *({"what": "unreadable", "kind": kind} for kind in (*MISSING, "", "of_tomorrow")),
]


@pytest.mark.parametrize("shown", SHOWN, ids=lambda shown: "-".join(map(str, shown.values()))[:40])
def test_every_code_has_a_sentence_in_both_languages(shown: dict[str, Any]) -> None:
    with translation.override("en"):
        english, first = compose_text("", shown), message_text.render_preview(message_text.build_preview("", shown))
    with translation.override("ru"):
        russian = compose_text("", shown)

    assert english and not CYRILLIC.search(english)
    assert russian and CYRILLIC.search(russian)
    assert not re.search(r"%\(|\(\)|\{|None|_", english.replace("of_tomorrow", ""))
    assert first == english.split("\n")[0] or shown.get("product")


def test_an_unknown_type_is_named_and_the_providers_words_are_kept() -> None:
    shown = {"what": "unsupported", "kind": "of_tomorrow", "code": "131060", "details": "This message is unavailable."}

    with translation.override("en"):
        content = compose_text("", shown)

    assert "of_tomorrow" in content and content.endswith("This message is unavailable. (131060)")
    with translation.override("en"):
        assert "not supported" not in compose_text("", {**shown, "code": "131051", "details": "not supported"})


@pytest.mark.parametrize(
    ("language", "price", "currency", "shown"),
    [
        ("ru", "4500", "RUB", "4\xa0500\xa0₽"),
        ("ru", "990.5", "RUB", "990,50\xa0₽"),
        ("en", "4500", "USD", "$4,500"),
        ("en", "4500", "RUB", "4,500\xa0₽"),
        ("ru", "49.9", "USD", "49,90\xa0$"),
        ("ru", "4500", "XYZ", "4\xa0500\xa0XYZ"),
        ("ru", "дорого", "RUB", "дорого RUB"),
        ("ru", "1e400", "RUB", "1e400 RUB"),
        ("ru", "4500", "", "4\xa0500"),
    ],
)
def test_amounts_are_formatted_in_the_readers_language(language: str, price: str, currency: str, shown: str) -> None:
    with translation.override(language):
        assert format_amount(price, currency) == shown


def test_an_order_has_a_total_if_it_can_be_computed() -> None:
    lines = [
        {"product": "A", "quantity": "2", "price": "4500", "currency": "RUB"},
        {"product": "B", "quantity": 1, "price": 1, "currency": "RUB"},
    ]

    with translation.override("ru"):
        assert compose_text("", {"what": "order", "own": "Быстрее", "lines": lines}).split("\n") == [
            *("Быстрее", "A × 2 · 4\xa0500\xa0₽", "B × 1 · 1\xa0₽", "Итого · 9\xa0001\xa0₽")
        ]
        assert "Итого" not in compose_text(
            "", {"what": "order", "own": "", "lines": [lines[0], {**lines[1], "currency": "USD"}]}
        )


def test_messages_without_own_text_keep_their_words() -> None:
    old = {"what": "order", "lines": [{"product": "A", "quantity": "2", "price": "5", "currency": "RUB"}]}

    assert compose_text("Заказ\nA × 2 · 5 RUB", old) == "Заказ\nA × 2 · 5 RUB"
    assert compose_own_text("Быстрее\nA × 2 · 5 RUB", old) == "Быстрее"
    with translation.override("en"):
        assert compose_text(
            "[Сообщение, которое WhatsApp не передаёт: gif]", {"what": "unsupported", "kind": "gif"}
        ) == ("The client sent a GIF that WhatsApp does not forward.")


def test_an_edited_message_shows_its_present_text() -> None:
    assert (
        compose_text("теперь", {"own": "раньше", "product": {"product": "X"}, "edited_at": "2026-11-28T10:00:00Z"})
        == "теперь"
    )


# --- values of several lines -----------------------------------------------------------------------------

BREAKS = ["\n", "\r\n", "\r", "\u2028", "\x0b", " \n ", "\n\n", "\t", "\x85"]
PLACES: dict[str, Any] = {
    "flow": lambda value: {
        "type": "interactive",
        "interactive": {"type": "nfm_reply", "nfm_reply": {"response_json": _json(a=value)}},
    },
    "location name": lambda value: {"type": "location", "location": {"latitude": 1, "longitude": 2, "name": value}},
    "location address": lambda value: {
        "type": "location",
        "location": {"latitude": 1, "longitude": 2, "address": value},
    },
    "card name": lambda value: _contacts(name={"formatted_name": value}),
    "card parts": lambda value: _contacts(name={"first_name": value}),
    "card org": lambda value: _contacts(org={"company": value}),
    "card street": lambda value: _contacts(addresses=[{"street": value}]),
    "order product": lambda value: {"type": "order", "order": {"product_items": [{"product_retailer_id": value}]}},
    "button": lambda value: {"type": "button", "button": {"text": value}},
    "list": lambda value: {
        "type": "interactive",
        "interactive": {"type": "list_reply", "list_reply": {"title": value}},
    },
    "text": lambda value: {"type": "text", "text": {"body": value}},
    "caption": lambda value: {"type": "image", "image": {"id": "1", "caption": value}},
}


def _json(**values: str) -> str:
    import json

    return json.dumps(values)


def _contacts(**card: Any) -> dict[str, Any]:
    return {"type": "contacts", "contacts": [{"name": {"formatted_name": "Анна"}, "phones": [], **card}]}


@pytest.mark.parametrize(("place", "line_end"), list(itertools.product(PLACES, BREAKS)))
def test_line_ends_in_values_still_separate_words(place: str, line_end: str) -> None:
    text = read_content(PLACES[place](f"Лесная 5{line_end}12 этаж")).text

    assert re.search(r"Лесная 5\s+12 этаж", text)


@pytest.mark.parametrize(
    ("value", "one", "several"),
    [
        ("Анна\nПетрова", "Анна Петрова", "Анна\nПетрова"),
        ("Анна \r\n  Петрова", "Анна Петрова", "Анна \n  Петрова"),
        ("Ан\x00на\x07", "Анна", "Анна"),
        ("\u202eАнна\u2066", "Анна", "Анна"),
        ("a\tb", "a b", "a\tb"),
        ("a\u2028b\x85c", "a b c", "a\nb\nc"),
        ("a  b", "a  b", "a  b"),
    ],
)
def test_control_characters_are_removed_and_line_ends_kept(value: str, one: str, several: str) -> None:
    assert one_line(value, 100) == one
    assert several_lines(value, 100) == several


def test_a_contact_card_keeps_every_field() -> None:
    card = {
        "name": {"formatted_name": "Пётр Котов"},
        "org": {"company": "Сапоги", "department": "Склад", "title": "Кладовщик"},
        "phones": [{"phone": "+7 921 000-00-01"}, {"wa_id": "79210000002"}],
        "emails": [{"email": "p@shop.example"}],
        "addresses": [{"street": "Лесная, 5", "city": "Псков", "zip": "180000", "country_code": "RU"}],
        "urls": [{"url": "https://shop.example"}, {"url": "https://p.example"}],
        "birthday": "1990-05-12",
    }

    found = read_content(_contacts(**card))

    for value in ("Пётр Котов", "Сапоги · Склад · Кладовщик", "+7 921 000-00-01", "79210000002", "p@shop.example"):
        assert value in found.text
    for value in ("Лесная, 5, Псков, 180000, RU", "https://shop.example", "https://p.example", "1990-05-12"):
        assert value in found.text
    assert read_content({"type": "contacts", "contacts": [{"birthday": "1990-05-12"}, {}]}).text == "1990-05-12"


# --- display ---------------------------------------------------------------------------------------------


def receive(channel: ApiChannel, item: dict[str, Any], **fields: Any) -> Message:
    content = read_content(item)
    contact = ContactInfo(external_id="447700900101", phone="+447700900101", name="Анна")
    fact = MessageReceived(
        contact=contact, external_id="1", text=content.text, shown=content.shown, files=content.files, **fields
    )
    processing.apply_facts(channel, [fact])
    return Message.objects.get(external_id="1")


WELCOME = {
    "type": "request_welcome",
    "referral": {"headline": "Сапоги", "body": "Скидка 50%", "source_url": "https://a.example"},
}


@pytest.mark.django_db
def test_an_opened_chat_has_no_window_and_shows_its_ad(channel: ApiChannel, desk: Client) -> None:
    message = receive(channel, WELCOME, opens_window=False)

    assert not ServiceWindow.objects.exists()
    assert "Сапоги — Скидка 50%" in message.text
    html = desk.get(f"/chats/{message.conversation_id}/", headers={"Accept-Language": "en"}).content.decode()
    assert "The client opened the chat and has not written yet." in html and html.count("Скидка 50%") == 1


@pytest.mark.django_db
@pytest.mark.parametrize(
    "item", [{"type": "call", "call": {}}, {"type": "unsupported", "unsupported": {"type": "gif"}}]
)
def test_thread_list_admin_and_api_speak_the_readers_language(
    channel: ApiChannel, desk: Client, item: dict[str, Any]
) -> None:
    message = receive(channel, item)
    staff = signed_in(Client(), vera())
    api = f"/api/v1/messages/{message.pk}/"
    addresses = (
        *((desk, "/chats/"), (desk, f"/chats/{message.conversation_id}/")),
        (staff, f"/admin/bridge/message/{message.pk}/change/"),
    )
    for language, other in (("en", "ru"), ("ru", "en")):
        with translation.override(language):
            content = compose_text("", message.shown)
        with translation.override(other):
            not_said = compose_text("", message.shown)
        answer = staff.get(api, headers={**token_of(vera()), "Accept-Language": language}).json()
        assert (answer["localized_text"], answer["text"], answer["html"]) == (
            content,
            message.text,
            render_html(content),
        )
        for reader, address in addresses:
            html = reader.get(address, headers={"Accept-Language": language}).content.decode()
            assert content in html, address
            assert not_said not in html.replace(message.text, ""), address


@pytest.mark.django_db
def test_an_order_is_shown_once_and_found_by_its_product(channel: ApiChannel, desk: Client) -> None:
    items = [{"product_retailer_id": "KROSS77", "quantity": 2, "item_price": 4500, "currency": "RUB"}]
    message = receive(channel, {"type": "order", "order": {"text": "Побыстрее", "product_items": items}})

    html = desk.get(f"/chats/{message.conversation_id}/", headers={"Accept-Language": "ru"}).content.decode()

    assert (
        html.count("<dt>KROSS77") == 1
        and 'dir="auto">Побыстрее</div>' in html
        and "4\xa0500\xa0₽" in html
        and "Побыстрее" in html
    )
    assert "KROSS77" in message.text
    assert "Анна" in desk.get("/chats/?q=KROSS77").content.decode()


def test_the_advertisement_is_one_line() -> None:
    with translation.override("en"):
        assert describe_ad({"ad": {"headline": "Boots", "body": "Boots"}}) == "From the advertisement: Boots"
        assert describe_ad({"ad": {"url": "https://a.example"}}) == "From the advertisement: https://a.example"
    assert describe_ad({}) == describe_ad({"ad": "x"}) == ""
