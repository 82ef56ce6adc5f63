"""Pages and emails of the account: all are ours and in the user's language. No other page of allauth is routed."""

from __future__ import annotations

import smtplib
from pathlib import Path
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.totp.internal import auth as totp
from django.conf import settings as portal
from django.core import mail
from django.template.loader import get_template
from django.test import Client
from django.urls import URLPattern, get_resolver

from channels_setup.roles import Role, assign_role
from config.accounts import email_addresses, one_time_links, sessions
from config.accounts.models import User
from tests.factories import UserFactory, vera
from tests.test_own_account import PASSWORD, boris, path_of, sign_in  # noqa: F401

pytestmark = pytest.mark.django_db

OURS = Path(portal.BASE_DIR)
NOTICES = (
    *("account/email/password_changed", "account/email/password_set", "account/email/password_reset"),
    *("account/email/email_changed", "account/email/email_deleted", "account/email/email_confirmation"),
    *("account/email/password_reset_key", "account/email/invitation", "account/email/new_device"),
    *("mfa/email/totp_activated", "mfa/email/totp_deactivated", "mfa/email/webauthn_added"),
    *("mfa/email/webauthn_removed", "mfa/email/recovery_codes_generated", "socialaccount/email/account_connected"),
)
# Views of allauth that render no page of their own: JSON, redirects, files.
NO_PAGE = ("LoginWebAuthnView", "EmailVerificationSentView")


@pytest.fixture(autouse=True)
def mail_server(settings: Any) -> None:
    settings.EMAIL_HOST = "mail.example"
    settings.DEFAULT_FROM_EMAIL = "Okno <okno@company.example>"


def allauth_views() -> dict[str, Any]:
    """Return the routed class-based views of allauth, and our own that are based on one, by name."""
    found = {}

    def collect(patterns: list[Any]) -> None:
        for pattern in patterns:
            if not isinstance(pattern, URLPattern):
                collect(pattern.url_patterns)
            elif "allauth" in str(getattr(getattr(pattern.callback, "view_class", None), "__mro__", "")):
                found[pattern.callback.view_class.__name__] = pattern.callback.view_class

    collect(get_resolver().url_patterns)
    return found


def is_ours(template: str) -> bool:
    return OURS in Path(get_template(template).origin.name).parents and "site-packages" not in str(
        get_template(template).origin.name
    )


def test_every_page_of_allauth_has_our_template() -> None:
    views = allauth_views()
    assert len(views) > 15
    for name, view in views.items():
        template = getattr(view, "template_name", None)
        assert name in NO_PAGE or template, name
        assert not template or template.endswith(".txt") or is_ours(template), f"{name}: {template}"


@pytest.mark.parametrize("template", ["socialaccount/login.html", "429.html", "account/signup_closed.html"])
def test_pages_without_a_view_of_their_own_are_ours(template: str) -> None:
    assert is_ours(template)


@pytest.mark.parametrize(
    "path",
    [
        *("signup/", "phone/", "login/code/", "login/code/confirm/", "3rdparty/", "3rdparty/signup/", "sessions/x/"),
        *("second-factor/trust/", "second-factor/webauthn/signup/", "second-factor/recovery-codes/download/"),
        *("reauthenticate/", "verify-email/", "logout/", "login/"),
    ],
)
def test_no_other_page_of_allauth_is_routed(client, boris, path):  # noqa: F811
    sign_in(client)
    assert client.get(f"/account/{path}").status_code == 404
    assert client.post(f"/account/{path}").status_code == 404


@pytest.mark.parametrize("template", NOTICES)
def test_texts_of_emails_are_ours(template: str) -> None:
    assert is_ours(f"{template}_subject.txt") and is_ours(f"{template}_message.txt")


@pytest.mark.parametrize(
    ("language", "subject", "sentence"),
    [
        ("ru", "Пароль изменён", "Все остальные сеансы завершены"),
        ("en", "Your password was changed", "All other sessions ended"),
    ],
)
def test_a_notice_is_written_in_the_language_of_its_user(client, boris, language, subject, sentence):  # noqa: F811
    User.objects.filter(pk=boris.pk).update(language=language, time_zone="Asia/Tokyo")
    sign_in(client)
    mail.outbox.clear()
    data = {"oldpassword": PASSWORD, "password1": "another-Horse-9", "password2": "another-Horse-9"}
    client.post("/account/password/", data, HTTP_ACCEPT_LANGUAGE="de", HTTP_USER_AGENT="X11; Linux Firefox/140.0")
    (message,) = mail.outbox
    assert message.subject == subject
    assert sentence in message.body and "Firefox · Linux" in message.body and "JST" in message.body
    assert message.from_email == "Okno <okno@company.example>" and message.to == ["boris@company.example"]
    assert not message.alternatives


def test_an_admin_invites_in_the_language_of_the_new_user():
    user = UserFactory(email="new@company.example", language="en", last_login=None)
    browser = Client()
    browser.force_login(vera())
    browser.post(f"/admin/accounts/user/{user.pk}/access/link/", {"way": "email"})
    (message,) = mail.outbox
    assert message.subject == "You are invited to the portal" and "choose a password" in message.body
    link = next(line for line in message.body.splitlines() if "/account/password/link/" in line)
    assert link.startswith(portal.PUBLIC_URL)
    assert 'name="password1"' in Client().get(path_of(link), follow=True).content.decode()


def test_links_in_emails_lead_to_the_public_address(client, boris, settings):  # noqa: F811
    settings.PUBLIC_URL = "https://okno.example"
    client.post("/account/password/reset/", {"email": "BORIS@company.example"})
    assert "https://okno.example/account/password/link/" in mail.outbox[0].body
    assert mail.outbox[0].to == ["boris@company.example"]  # not the entered address, which may only look like it


@pytest.mark.parametrize(
    "email", ["bor\u0131s@company.example", "boris@company.example\u0131", "bori\u017f@company.example"]
)
def test_an_address_that_only_looks_like_a_users_finds_nobody(boris, email):  # noqa: F811
    assert email_addresses.find_users_by_email("BORIS@company.example") == [boris]
    assert email_addresses.find_users_by_email(email) == []


def test_a_changed_email_address_counts_after_its_confirmation(client, boris):  # noqa: F811
    sign_in(client)
    mail.outbox.clear()
    client.post("/account/email/", {"action_add": "", "email": "new@company.example"})
    (message,) = mail.outbox
    assert message.to == ["new@company.example"]
    boris.refresh_from_db()
    assert boris.email == "boris@company.example"
    link = next(line for line in message.body.splitlines() if "/account/email/confirm/" in line)
    mail.outbox.clear()
    client.post(path_of(link))
    boris.refresh_from_db()
    assert boris.email == "new@company.example"
    assert [sent.to for sent in mail.outbox] == [["boris@company.example"]]  # the former address learns of it


def test_no_address_counts_without_its_confirmation(client, boris):  # noqa: F811
    User.objects.filter(pk=boris.pk).update(email="")
    EmailAddress.objects.filter(user=boris).delete()
    sign_in(client)
    client.post("/account/email/", {"action_add": "", "email": "chief@company.example"})
    assert EmailAddress.objects.filter(user=boris, email="chief@company.example").exists()
    client.post("/account/email/", {"action_primary": "", "email": "chief@company.example"})
    boris.refresh_from_db()
    assert boris.email == ""


def test_an_email_address_is_not_changed_from_an_unattended_browser(client, boris):  # noqa: F811
    sign_in(client)
    session = client.session
    for record in session["account_authentication_methods"]:
        record["at"] -= portal.ACCOUNT_REAUTHENTICATION_TIMEOUT + 1
    session.save()
    response = client.post("/account/email/", {"action_add": "", "email": "thief@company.example"})
    assert response.status_code == 302 and response.url.startswith("/account/confirm/")
    assert not EmailAddress.objects.filter(email="thief@company.example").exists()


def test_an_address_of_another_user_cannot_be_confirmed(client, boris):  # noqa: F811
    sign_in(client)
    client.post("/account/email/", {"action_add": "", "email": "new@company.example"})
    link = next(line for line in mail.outbox[-1].body.splitlines() if "/account/email/confirm/" in line)
    UserFactory(email="new@company.example")
    assert client.post(path_of(link)).status_code == 302
    boris.refresh_from_db()
    assert boris.email == "boris@company.example"


def end_all_sessions(user: User, browser: Client) -> None:
    sessions.end_sessions(user)


def change_the_password(user: User, browser: Client) -> None:
    data = {"oldpassword": PASSWORD, "password1": "another-Horse-9", "password2": "another-Horse-9"}
    assert browser.post("/account/password/", data).status_code == 302


def reset_the_password(user: User, browser: Client) -> None:
    visitor = Client()
    form = visitor.get(path_of(one_time_links.password_link(user)), follow=True).redirect_chain[-1][0]
    data = {"password1": "another-Horse-9", "password2": "another-Horse-9"}
    assert visitor.post(form, data).status_code == 302


def let_an_admin_enter_the_address(user: User, browser: Client) -> None:
    user.email = "boris.right@company.example"
    user.save()


@pytest.mark.parametrize(
    "lock_out", [end_all_sessions, change_the_password, reset_the_password, let_an_admin_enter_the_address]
)
def test_a_link_that_was_sent_before_changes_no_address(client, boris, lock_out):  # noqa: F811
    sign_in(client)
    client.post("/account/email/", {"action_add": "", "email": "thief@company.example"})
    link = next(line for line in mail.outbox[-1].body.splitlines() if "/account/email/confirm/" in line)
    lock_out(User.objects.get(pk=boris.pk), client)
    Client().post(path_of(link))
    boris.refresh_from_db()
    assert boris.email in ("boris@company.example", "boris.right@company.example")


def test_former_and_unconfirmed_addresses_reset_no_password(client, boris):  # noqa: F811
    EmailAddress.objects.create(user=boris, email="typo@company.example")
    boris.email = "changed-by-admin@company.example"
    boris.save()
    for address in ("boris@company.example", "typo@company.example"):
        client.post("/account/password/reset/", {"email": address})
    assert mail.outbox == []
    client.post("/account/password/reset/", {"email": "changed-by-admin@company.example"})
    assert len(mail.outbox) == 1


@pytest.fixture
def broken_mail_server(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: Any, **_options: Any) -> None:
        raise smtplib.SMTPServerDisconnected("gone")

    monkeypatch.setattr("django.core.mail.backends.locmem.EmailBackend.send_messages", fail)


def test_a_broken_email_server_stops_neither_sign_in_nor_changes(client, boris, broken_mail_server):  # noqa: F811
    assert sign_in(client).status_code == 302
    data = {"oldpassword": PASSWORD, "password1": "another-Horse-9", "password2": "another-Horse-9"}
    assert client.post("/account/password/", data).status_code == 302
    for address in (boris.email, "nobody@company.example"):  # the answers must not tell which address exists
        response = Client().post("/account/password/reset/", {"email": address})
        assert (response.status_code, response.url) == (302, "/account/password/reset/sent/")
    page = client.post("/account/email/", {"action_add": "", "email": "new@company.example"}, follow=True)
    assert "Почтовый сервер не принял письмо" in page.content.decode()


def test_without_an_email_server_the_address_is_the_admins_task(client, boris, settings):  # noqa: F811
    settings.EMAIL_HOST = ""
    sign_in(client)
    page = client.get("/account/email/").content.decode()
    assert 'name="action_add"' not in page and "администратор" in page
    client.post("/account/email/", {"action_add": "", "email": "new@company.example"})
    assert not EmailAddress.objects.filter(email="new@company.example").exists()


@pytest.mark.parametrize(
    "credential",
    [
        "",
        "[]",
        "1",
        "null",
        "{}",
        '"text"',
        '{"response": []}',
        '{"response": {"userHandle": 5}}',
        "{",
        "[[[[",
        '{"response": {"userHandle": "enp6enp6enp6enp6enp6enp6"}}',
        '{"response": {"userHandle": "MTIzMTIz"}, "rawId": 1}',
        '{"id": "a", "rawId": "YQ", "type": "public-key", "response": {"userHandle": "MQ", "clientDataJSON": "e30"}}',
    ],
)
def test_an_invalid_passkey_is_refused(client, credential):
    response = client.post("/account/second-factor/webauthn/login/", {"credential": credential})
    assert (response.status_code, response.url) == (302, "/login/")


@pytest.mark.parametrize("key", ["1-x", "zzzzzzzzzzzzz-x-y", "0-set-password", "zzzzzzzzzzzzzzzzzzzzzz-1"])
def test_an_invalid_link_is_explained(client, key):
    page = client.get(f"/account/password/link/{key}/", follow=True)
    assert page.status_code == 200 and "больше не действует" in page.content.decode()


def test_a_user_with_a_passkey_and_no_password_can_be_invited_again(client, boris):  # noqa: F811
    boris.set_unusable_password()
    boris.save()
    link = path_of(one_time_links.password_link(boris))
    assert 'name="password1"' in client.get(link, follow=True).content.decode()
    assert totp.generate_totp_secret()


def test_the_list_of_users_shows_what_is_missing(client, settings):
    settings.SECOND_FACTOR_ROLES = ["operator"]
    invited, secured = UserFactory(username="invited"), UserFactory(username="secured")
    invited.set_unusable_password()
    invited.save()
    assign_role(invited, role=Role.OPERATOR)
    totp.TOTP.activate(secured, totp.generate_totp_secret())
    chief = UserFactory(username="chief", is_superuser=True, is_staff=True)
    client.force_login(chief)
    page = client.get("/admin/accounts/user/").content.decode()
    assert "Не настроен (обязателен)" in page and "нужна одноразовая ссылка" in page and "Настроен" in page
    missing = client.get("/admin/accounts/user/?second_factor=no").content.decode()
    assert ">invited<" in missing and ">secured<" not in missing
    present = client.get("/admin/accounts/user/?second_factor=yes").content.decode()
    assert ">invited<" not in present and ">secured<" in present
