"""User accounts: names, unique email addresses, language, time zone, and unsupported old databases."""

from datetime import UTC, datetime

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.urls import reverse

from bridge.conversations import receiving
from channels_setup.providers.base import ContactInfo, MessageReceived
from config.accounts.models import User
from config.management.commands import migrate
from tests.factories import PASSWORD, ApiChannelFactory, ChatChannelFactory, UserFactory, boris, vera

pytestmark = pytest.mark.django_db


def test_an_email_address_belongs_to_one_user_in_any_spelling() -> None:
    UserFactory(email="vera@shop.example")
    UserFactory(email="")
    UserFactory(email="")

    with pytest.raises(IntegrityError), transaction.atomic():
        UserFactory(email="Vera@Shop.example")


def test_the_admin_form_says_that_an_email_address_is_taken(client: Client) -> None:
    client.force_login(vera())
    UserFactory(email="vera@shop.example")
    other = UserFactory(username="olga")

    page = client.post(
        reverse("admin:accounts_user_change", args=[other.pk]),
        {"username": "olga", "email": "VERA@shop.example", "role": "operator", "time_zone": "Mars/Olympus"},
        headers={"accept-language": "en"},
    ).content.decode()

    assert "Another user has this email address." in page
    assert "Unknown time zone “Mars/Olympus”." in page


def test_the_display_name_is_shown_before_first_and_last_name() -> None:
    user = UserFactory(first_name="Борис", last_name="Петров")
    assert user.get_full_name() == "Борис Петров"

    user.display_name = "Борис, доставка"

    assert user.get_full_name() == "Борис, доставка"


def test_the_chosen_language_is_restored_at_the_next_sign_in(client: Client) -> None:
    client.force_login(UserFactory(username="boris"))
    client.post(reverse("set_language"), {"language": "en", "next": "/"})
    client.post(reverse("set_language"), {"language": "xx", "next": "/"})
    assert User.objects.get(username="boris").language == "en"

    elsewhere = Client(headers={"accept-language": "ru"})
    elsewhere.post(reverse("login"), {"username": "boris", "password": PASSWORD})

    assert elsewhere.cookies["django_language"].value == "en"


def test_setting_a_language_without_signing_in_changes_no_user(client: Client) -> None:
    UserFactory(username="boris")

    client.post(reverse("set_language"), {"language": "en"})

    assert User.objects.get(username="boris").language == ""


@pytest.mark.parametrize(("zone", "shown"), [("", "15:30"), ("Asia/Vladivostok", "22:30"), ("Gone/Zone", "15:30")])
def test_times_are_shown_in_the_users_own_zone(client: Client, zone: str, shown: str) -> None:
    channel = ApiChannelFactory(watched=ChatChannelFactory())
    fact = MessageReceived(
        contact=ContactInfo(external_id="anna", name="Анна"), text="Где?", at=datetime(2026, 11, 2, 12, 30, tzinfo=UTC)
    )
    chat = receiving.receive_messages(
        channel, [receiving.IncomingMessage(fact=fact, chat_channel=channel.default_chat_channel)]
    )[0].message
    operator = boris(channel.default_chat_channel)
    User.objects.filter(pk=operator.pk).update(time_zone=zone)
    client.force_login(operator)

    assert shown in client.get(reverse("chat", args=[chat.conversation_id])).content.decode()


def test_a_database_of_an_unreleased_version_is_refused() -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO django_migrations (app, name, applied) VALUES (%s, %s, now())", migrate.OBSOLETE)

    with pytest.raises(CommandError, match="created by an unreleased version of Okno"):
        call_command("migrate", verbosity=0)
