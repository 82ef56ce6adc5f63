"""User accounts: names, unique email addresses, language, time zone, and unsupported old databases."""

import json
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
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


def test_a_database_with_an_older_form_of_the_initial_migration_is_refused() -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE accounts_user DROP COLUMN signature")

    assert migrate.find_missing_columns("default") == ["accounts_user.signature"]
    with pytest.raises(CommandError, match="created by an unreleased version of Okno"):
        call_command("migrate", verbosity=0)


def test_a_current_database_lacks_no_column() -> None:
    assert migrate.find_missing_columns("default") == []


# --- preferences -----------------------------------------------------------------------------------------


def test_users_change_their_own_preferences(client: Client) -> None:
    user = UserFactory(username="boris")
    other = UserFactory(username="gleb")
    client.force_login(user)

    response = client.post(
        reverse("preferences"), {"language": "en", "time_zone": "Asia/Vladivostok", "signature": "Борис,\nсклад"}
    )

    assert response.status_code == 302 and response.cookies["django_language"].value == "en"
    user.refresh_from_db()
    other.refresh_from_db()
    assert (user.language, user.time_zone, user.signature) == ("en", "Asia/Vladivostok", "Борис,\nсклад")
    assert (other.language, other.time_zone, other.signature) == ("", "", "")
    page = client.get(response["Location"]).content.decode()
    assert "Preferences saved." in page and "Борис,\nсклад</textarea>" in page


def test_an_empty_language_follows_the_browser_again(client: Client) -> None:
    user = UserFactory(language="en")
    client.force_login(user)
    client.cookies["django_language"] = "en"

    response = client.post(reverse("preferences"), {"language": "", "time_zone": "", "signature": ""})

    assert response.cookies["django_language"].value == ""
    assert User.objects.get(pk=user.pk).language == ""


@pytest.mark.parametrize("field", [{"time_zone": "Mars/Olympus"}, {"language": "xx"}, {"signature": "x" * 501}])
def test_invalid_preferences_are_not_saved(client: Client, field: dict[str, str]) -> None:
    user = UserFactory(signature="Борис")
    client.force_login(user)

    response = client.post(reverse("preferences"), {"language": "", "time_zone": "", "signature": ""} | field)

    assert response.status_code == 200 and 'role="alert"' in response.content.decode()
    assert User.objects.get(pk=user.pk).signature == "Борис"


# --- export and import -----------------------------------------------------------------------------------


def exported(*options: str) -> dict[str, Any]:
    output = StringIO()
    call_command("user", "export", *options, stdout=output)
    return dict(json.loads(output.getvalue()))


def imported(data: Any, tmp_path: Path) -> tuple[str, str]:
    """Import the data and return what the command wrote to stdout and stderr."""
    file, output, errors = tmp_path / "users.json", StringIO(), StringIO()
    file.write_text(json.dumps(data))
    call_command("user", "import", str(file), stdout=output, stderr=errors)
    return output.getvalue().strip(), errors.getvalue().strip()


def test_exported_users_can_be_imported_again_and_again(tmp_path: Path) -> None:
    shop = ChatChannelFactory(name="Магазин")
    operator = boris(shop)
    User.objects.filter(pk=operator.pk).update(signature="Борис", language="en", email="boris@shop.example")
    operator.user_permissions.add(Permission.objects.get(codename="erase_contact"))
    operator.groups.add(Group.objects.create(name="Склад"))
    vera()
    data = exported("--include-password-hashes")
    User.objects.all().delete()
    Group.objects.all().delete()

    assert imported(data, tmp_path) == ("2 added, 0 updated", "")
    assert imported(data, tmp_path) == ("0 added, 2 updated", "")

    copy = User.objects.get(username=operator.username)
    assert copy.check_password(PASSWORD) and copy.signature == "Борис" and not copy.is_staff
    assert copy.has_perm("bridge.erase_contact") and copy.has_perm("bridge.view_conversation")
    assert [group.name for group in copy.groups.order_by("name")] == ["Operator", "Склад"]
    assert list(copy.chat_channels.all()) == [shop]
    assert exported("--include-password-hashes") == data


def test_without_hashes_old_passwords_stay_and_new_users_have_none(tmp_path: Path) -> None:
    operator = boris(ChatChannelFactory())
    data = exported()
    assert "pbkdf2" not in json.dumps(data) and "password" not in json.dumps(data["users"])

    imported(data, tmp_path)
    assert User.objects.get(pk=operator.pk).check_password(PASSWORD)
    User.objects.all().delete()
    imported(data, tmp_path)

    assert not User.objects.get().has_usable_password()


def test_an_import_reports_missing_channels_and_permissions(tmp_path: Path) -> None:
    boris(ChatChannelFactory(name="Магазин"))
    data = exported()
    data["users"][0] |= {"chat_channels": ["Склад"], "permissions": ["bridge.fly"]}

    summary, warnings = imported(data, tmp_path)

    assert summary == "0 added, 1 updated"
    assert "no chat channel “Склад”" in warnings and "no permission “bridge.fly”" in warnings


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"time_zone": "Mars/Olympus"}, "Mars/Olympus"),
        ({"password_hash": "secret"}, "unknown format"),
        ({"role": "king"}, "king"),
        ({"email": None}, "“email” of user “boris”"),
        ({"is_active": "yes"}, "wrong type"),
        ({"groups": None}, "damaged"),
    ],
)
def test_an_import_with_an_invalid_user_saves_nothing(tmp_path: Path, change: Any, sentence: str) -> None:
    boris(ChatChannelFactory())
    data = exported()
    data["users"] = [data["users"][0] | {"username": "anna"}, data["users"][0] | change]

    with pytest.raises(CommandError, match=sentence):
        imported(data, tmp_path)

    assert not User.objects.filter(username="anna").exists()


def test_an_export_file_is_readable_only_by_its_owner(tmp_path: Path) -> None:
    file = tmp_path / "users.json"

    call_command("user", "export", str(file))

    assert file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(CommandError, match="not a file of"):
        imported({"version": 2}, tmp_path)
    file.write_text("{")
    with pytest.raises(CommandError, match="not JSON"):
        call_command("user", "import", str(file))
