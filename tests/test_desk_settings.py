"""Personal settings of the desk, and the poll on pages without the chat list."""

import json
import re

import pytest
from django.test import Client

from bridge.desk import settings as desk_settings
from bridge.desk.command_catalog import COMMANDS, PAGES
from bridge.models import DeskSettings
from bridge.templatetags.desk_tags import palette_pages
from channels_setup.models import ApiChannel
from tests.factories import boris
from tests.pages import page_html, signed_in
from tests.scenarios.sending import client_writes

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("in_english")]


def test_a_user_without_a_row_has_the_defaults() -> None:
    user = boris()

    assert desk_settings.get_settings(user).enter_sends is True
    assert not DeskSettings.objects.exists()


def test_each_user_saves_own_settings(client: Client) -> None:
    user = boris()
    desk = signed_in(client, user)

    assert 'name="enter_sends"' in page_html(desk, "/desk/settings/")
    answer = desk.post("/desk/settings/", {})

    assert answer.status_code == 302 and answer["Location"] == "/desk/settings/?saved=1"
    assert "Settings saved." in page_html(desk, answer["Location"])
    assert desk_settings.get_settings(user).enter_sends is False
    desk.post("/desk/settings/", {"enter_sends": "on"})
    assert DeskSettings.objects.get().enter_sends is True


def test_all_choices_are_in_the_language_of_the_page(client: Client) -> None:
    html = page_html(signed_in(client, boris()), "/desk/settings/")

    assert "15 minutes" in html and not re.findall("<option[^>]*>[^<]*[а-я]", html)


def test_single_keys_can_be_turned_off(client: Client) -> None:
    user = boris()
    desk = signed_in(client, user)

    assert 'data-single-keys="off"' not in page_html(desk, "/chats/")
    desk.post("/desk/settings/", {"enter_sends": "on"})

    assert 'data-single-keys="off"' in page_html(desk, "/chats/")
    assert 'data-single-keys="off"' in page_html(desk, "/requests/")


def test_the_palette_knows_each_page_of_its_catalog() -> None:
    pages = json.loads(palette_pages())

    assert all(pages[command.name] for command in COMMANDS if command.section == PAGES)


def test_a_page_without_the_list_gets_only_the_counters(client: Client, channel: ApiChannel) -> None:
    chat = client_writes(channel, "Анна Соколова", "Где мой заказ?")
    desk = signed_in(client, boris(chat.chat_channel))

    first = desk.get("/chats/updates/?counters=").json()
    assert first["counters"]["waiting"] == 1 and "list" not in first
    desk.defaults["HTTP_OKNO_POLL_TOKEN"] = first["poll_token"]
    known = f"/chats/updates/?counters={first['counters']['version']}"
    assert desk.get(known).status_code == 204
    client_writes(channel, "Пётр", "Здравствуйте")
    assert desk.get(known).json()["counters"]["waiting"] == 2
