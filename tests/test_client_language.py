"""The client's language, as templates are ordered by it."""

from datetime import timedelta

import pytest
from django.test import Client

from bridge.desk.composer.client_language import guess_from_phone, guess_from_texts, guess_language
from channels_setup.models import ApiChannel
from templates_registry.models import TemplateUse
from tests.factories import TemplateFactory, boris
from tests.pages import page_html, signed_in
from tests.scenarios.sending import client_writes, move_windows_back


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Здравствуйте, где мой заказ?", "ru"),
        ("Доброго дня, коли їде замовлення?", "uk"),
        ("Қайырлы күн", "kk"),
        ("Добры дзень, як справы ў краме", "be"),
        ("Hello", "en"),
        ("Where is order 5?", "en"),
        ("¿Cuándo está mi pedido?", "es"),
        ("Wann kommt meine Bestellung?", "de"),
        ("Merhaba, ne zaman gelir?", "tr"),
        ("שלום, איפה ההזמנה", "he"),
        ("注文はいつ届きますか", "ja"),
        ("ok", ""),
        ("👍 5", ""),
        ("Nike", ""),
    ],
)
def test_a_text_tells_its_language(text: str, language: str) -> None:
    assert guess_from_texts([text]) == language


def test_the_newest_text_that_tells_a_language_decides() -> None:
    assert guess_from_texts(["ok", "Спасибо большое", "Hello there"]) == "ru"
    assert guess_from_texts([]) == ""


def test_a_phone_tells_the_language_of_its_country() -> None:
    phones = ("+7 921 555-01-04", "+77011234567", "+380501234567", "14155550100", "+99999", "")
    assert [guess_from_phone(phone) for phone in phones] == ["ru", "kk", "uk", "en", "", ""]


@pytest.mark.django_db
@pytest.mark.usefixtures("in_english")
def test_templates_in_the_clients_language_come_first(channel: ApiChannel, client: Client) -> None:
    for name, language in (("a_news", "en"), ("address", "en"), ("address", "ru"), ("we_answered", "ru")):
        TemplateFactory(api_channel=channel, name=name, language=language, body=f"{name} {language}")
    chat = client_writes(channel, "Анна", "Где мой заказ?", phone="+14155550100")
    move_windows_back(timedelta(hours=30))
    desk = signed_in(client, boris(chat.chat_channel))

    assert guess_language(chat) == "ru"
    html = page_html(desk, f"/chats/{chat.pk}/")
    offers = html[html.index('class="offers"') : html.index("data-pick", html.index('class="offers"'))]
    assert offers.index("address ru") < offers.index("we_answered ru") < offers.index("a_news en")
    picker = page_html(desk, f"/chats/{chat.pk}/templates/")
    assert picker.index("address ru") < picker.index("we_answered ru") < picker.index("address en")


@pytest.mark.django_db
@pytest.mark.usefixtures("in_english")
def test_the_picker_says_what_it_leaves_out_and_keeps_favorites(channel: ApiChannel, client: Client) -> None:
    for number in range(44):
        TemplateFactory(api_channel=channel, name=f"news_{number:02}", language="ru", body=f"Новость {number}")
    favorite = TemplateFactory(api_channel=channel, name="zebra", language="en", body="Zebra")
    chat = client_writes(channel, "Анна", "Где мой заказ?")
    TemplateUse.objects.create(user=boris(chat.chat_channel), template=favorite, is_favorite=True)
    move_windows_back(timedelta(hours=30))
    desk = signed_in(client, boris(chat.chat_channel))

    picker = page_html(desk, f"/chats/{chat.pk}/templates/")
    picks = picker[picker.index('data-part="picks"') :]
    assert picks.index("zebra") < picks.index("news_00") and "news_39" not in picks
    assert "40 of 45 shown. Search to find the others." in picks
    found = page_html(desk, f"/chats/{chat.pk}/templates/?find=news_43")
    assert "news_43" in found and "data-first-rows" not in found
    offers = picker[
        picker.index('class="offers"') : picker.index('class="button" href="', picker.index('class="offers"'))
    ]
    assert "news_00" in offers and "zebra" not in offers  # few places, so only the client's language
