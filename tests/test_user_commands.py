"""`manage.py user`: list, invite, password, disable and enable."""

import json
import re
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core import mail
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import translation

from channels_setup.roles import Role
from tests.factories import ChatChannelFactory, boris, vera

pytestmark = pytest.mark.django_db


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    def runner(*words: Any) -> str:
        call_command("user", *map(str, words))
        return capsys.readouterr().out

    return runner


def test_list_shows_role_state_and_last_sign_in(run: Any) -> None:
    vera(), boris()
    call_command("service", "add", "crm", stdout=StringIO())

    everybody = json.loads(run("list", "--output", "json"))

    assert [(row["name"], row["role"], row["state"], row["last_sign_in"]) for row in everybody] == [
        ("boris", "operator", "active", None),
        ("vera", "admin", "active", None),
    ]
    assert run("list", "--role", "operator").split()[1] == "boris"


def test_an_empty_list_says_what_to_do(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("user", "list")

    printed = capsys.readouterr()
    assert printed.out == "" and "manage.py user add" in printed.err
    assert json.loads(run("list", "--output", "json")) == []


def test_invite_prints_a_link_that_sets_the_first_password(run: Any, client: Client) -> None:
    shop = ChatChannelFactory(name="Магазин")
    link = run("invite", "nina", "--role", "operator", "--chat-channel", "Магазин").strip()

    user = get_user_model().objects.get(username="nina")
    assert not user.has_usable_password() and Role.of_user(user) == Role.OPERATOR
    assert list(user.chat_channels.all()) == [shop]
    page = client.get(re.sub(r"^https?://[^/]+", "", link), follow=True)
    assert page.status_code == 200 and "password1" in page.content.decode()


def test_invite_emails_the_link_if_there_is_a_server(run: Any, settings: Any) -> None:
    settings.EMAIL_HOST = "mail.example"

    printed = run("invite", "nina", "--role", "admin", "--email", "nina@shop.example")

    assert printed == "The invitation was sent to nina@shop.example.\n"
    (message,) = mail.outbox
    assert message.to == ["nina@shop.example"] and settings.PUBLIC_URL in message.body


def test_the_invitation_speaks_the_portals_language(run: Any, settings: Any) -> None:
    settings.EMAIL_HOST = "mail.example"

    with translation.override("en"):
        run("invite", "nina", "--role", "admin", "--email", "nina@shop.example")

    assert re.search("[а-я]", str(mail.outbox[0].body))


def test_invite_refuses_a_name_that_exists(run: Any) -> None:
    boris()

    with pytest.raises(CommandError):
        run("invite", "boris", "--role", "operator")


def test_a_new_password_works_and_ends_all_sessions(run: Any, client: Client) -> None:
    user = boris()
    client.force_login(user)

    password = run("password", "boris").split()[-1]

    assert client.get("/chats/").status_code == 302
    assert get_user_model().objects.get(username="boris").check_password(password)


def test_a_weak_password_is_refused(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    boris()
    monkeypatch.setenv("USER_PASSWORD", "12345678")

    with pytest.raises(CommandError):
        run("password", "boris")


def test_a_disabled_user_is_signed_out_until_enabled(run: Any, client: Client) -> None:
    user = boris()
    vera()
    client.force_login(user)

    assert "is disabled" in run("disable", "boris")
    assert client.get("/chats/").status_code == 302
    assert "already disabled" in run("disable", "boris")
    with pytest.raises(CommandError, match="user enable boris"):
        run("password", "boris")

    assert "is enabled" in run("enable", "boris")
    user.refresh_from_db()
    assert user.is_active and "already active" in run("enable", "boris")


def test_the_only_administrator_cannot_be_disabled(run: Any) -> None:
    vera(), boris()

    with pytest.raises(CommandError, match="only administrator"):
        run("disable", "vera")
