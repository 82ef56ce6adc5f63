"""A person's own account: sign-in with a second factor, profile, password, sessions, one-time links."""

from __future__ import annotations

import io
import re

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal import auth as totp
from allauth.usersessions.models import UserSession
from django.contrib.auth.password_validation import validate_password
from django.core import mail
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.test import Client

from channels_setup.roles import Role, assign_role
from config.accounts import one_time_links, sessions
from tests.factories import UserFactory, vera

pytestmark = pytest.mark.django_db
PASSWORD = "correct-Horse-battery"


@pytest.fixture(autouse=True)
def no_rate_limits():
    cache.clear()


@pytest.fixture
def boris():
    user = UserFactory(username="boris", email="boris@company.example")
    user.set_password(PASSWORD)
    user.save()
    assign_role(user, role=Role.OPERATOR)
    return user


def run_command(*arguments: str) -> str:
    output = io.StringIO()
    call_command(*arguments, stdout=output)
    return output.getvalue()


def sign_in(client: Client, password: str = PASSWORD):
    return client.post("/login/", {"username": "boris", "password": password})


def path_of(link: str) -> str:
    return re.sub(r"^https?://[^/]+", "", link)


def add_authenticator_app(user) -> str:
    secret = totp.generate_totp_secret()
    totp.TOTP.activate(user, secret)
    return secret


def code_of(secret: str) -> str:
    return totp.format_hotp_value(totp.hotp_value(secret, next(totp.yield_hotp_counters_from_time())))


def test_a_password_alone_does_not_sign_in_with_a_second_factor(client, boris):
    secret = add_authenticator_app(boris)
    response = sign_in(client)
    assert response.status_code == 302 and response.url == "/account/second-factor/authenticate/"
    assert client.get("/chats/").status_code == 302  # not signed in
    page = client.get(response.url)
    assert page.status_code == 200 and 'name="code"' in page.content.decode()
    wrong = client.post(response.url, {"code": "000000"})
    assert wrong.status_code == 200
    right = client.post(response.url, {"code": code_of(secret)})
    assert right.status_code == 302
    assert client.get("/chats/").status_code == 200


def test_a_recovery_code_signs_in_once(client, boris):
    add_authenticator_app(boris)
    codes = RecoveryCodes.activate(boris).get_unused_codes()
    sign_in(client)
    assert client.post("/account/second-factor/authenticate/", {"code": codes[0]}).status_code == 302
    assert client.get("/chats/").status_code == 200
    again = Client()
    sign_in(again)
    assert again.post("/account/second-factor/authenticate/", {"code": codes[0]}).status_code == 200
    assert again.get("/chats/").status_code == 302


def test_the_secret_of_an_authenticator_app_is_stored_encrypted(boris):
    secret = add_authenticator_app(boris)
    stored = Authenticator.objects.get(user=boris).data["secret"]
    assert secret not in stored and stored.startswith("gAAAA")


def test_a_role_that_requires_a_second_factor_must_set_one_up(client, boris, settings):
    settings.SECOND_FACTOR_ROLES = ["operator"]
    sign_in(client)
    assert client.get("/chats/").url == "/account/second-factor/"
    assert client.get("/account/second-factor/").status_code == 200
    add_authenticator_app(boris)
    assert client.get("/chats/").status_code == 200


def test_other_roles_need_no_second_factor(client, boris, settings):
    settings.SECOND_FACTOR_ROLES = ["admin"]
    sign_in(client)
    assert client.get("/chats/").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/account/",
        "/account/password/",
        "/account/email/",
        "/account/sessions/",
        "/account/second-factor/",
        "/account/password/reset/",
        "/login/",
    ],
)
def test_pages_of_the_account_open(client, boris, path):
    sign_in(client)
    response = client.get(path, follow=True)
    assert response.status_code == 200


def test_the_profile_is_saved(client, boris):
    sign_in(client)
    client.post("/account/", {"display_name": "Boris B.", "language": "en", "time_zone": "Asia/Tokyo"})
    boris.refresh_from_db()
    assert (boris.display_name, boris.language, boris.time_zone) == ("Boris B.", "en", "Asia/Tokyo")
    assert boris.sign_in_notices is False


def test_a_changed_password_ends_other_sessions(client, boris):
    other = Client()
    sign_in(other)
    sign_in(client)
    response = client.post(
        "/account/password/", {"oldpassword": PASSWORD, "password1": "another-Horse-9", "password2": "another-Horse-9"}
    )
    assert response.status_code == 302
    assert client.get("/chats/").status_code == 200
    assert other.get("/chats/").status_code == 302


def test_sessions_are_listed_and_can_be_ended(client, boris):
    other = Client(HTTP_USER_AGENT="Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0")
    sign_in(other)
    sign_in(client)
    assert "Firefox · Linux" in client.get("/account/sessions/").content.decode()
    session = UserSession.objects.get(session_key=other.session.session_key)
    assert client.post(f"/account/sessions/{session.pk}/end/").status_code == 302
    assert other.get("/chats/").status_code == 302


def test_nobody_ends_a_session_of_somebody_else(client, boris):
    sign_in(client)
    stranger = UserFactory()
    outsider = Client()
    outsider.force_login(stranger)
    session = UserSession.objects.get(user=boris)
    assert outsider.post(f"/account/sessions/{session.pk}/end/").status_code == 404
    assert client.get("/chats/").status_code == 200


def test_an_idle_session_must_sign_in_again(client, boris, settings):
    sign_in(client)
    assert client.get("/chats/").status_code == 200
    session = client.session
    session[sessions.LAST_USED_KEY] -= settings.SESSION_IDLE_HOURS * 3600 + 1
    session.save()
    assert client.get("/chats/").status_code == 302


@pytest.mark.parametrize("path", ["/chats/updates/", "/phone/1/messages"])
def test_a_page_that_polls_alone_keeps_no_session_alive(client, boris, path):
    sign_in(client)
    session = client.session
    session[sessions.LAST_USED_KEY] -= sessions.WRITE_INTERVAL_SECONDS + 1
    session.save()
    client.get(path)
    assert client.session[sessions.LAST_USED_KEY] == session[sessions.LAST_USED_KEY]


def test_a_live_page_that_refreshes_itself_keeps_no_session_alive(client, boris):
    sign_in(client)
    session = client.session
    session[sessions.LAST_USED_KEY] -= sessions.WRITE_INTERVAL_SECONDS + 1
    session.save()
    for path in ("/contacts/", "/requests/"):
        client.get(path, headers={"okno-refresh": "1"})
        assert client.session[sessions.LAST_USED_KEY] == session[sessions.LAST_USED_KEY]
    client.get("/contacts/")
    assert client.session[sessions.LAST_USED_KEY] > session[sessions.LAST_USED_KEY]


def test_the_admin_site_leads_to_the_account_to_change_the_password(client, boris):
    assign_role(boris, role=Role.ADMIN)
    sign_in(client)
    assert client.get("/admin/password_change/").url == "/account/password/"


def test_a_reactivated_user_has_no_old_session(client, boris):
    sign_in(client)
    boris.is_active = False
    boris.save()
    boris.is_active = True
    boris.save()
    assert client.get("/chats/").status_code == 302


def test_a_one_time_link_sets_a_password_once(client, boris):
    link = one_time_links.password_link(boris)
    path = path_of(link)
    form = client.get(path, follow=True)
    assert form.status_code == 200 and "boris" in form.content.decode()
    set_password = form.redirect_chain[-1][0]
    data = {"password1": "another-Horse-9", "password2": "another-Horse-9"}
    assert client.post(set_password, data).status_code == 302
    assert sign_in(Client(), "another-Horse-9").status_code == 302
    assert "another" not in Client().get(path, follow=True).content.decode()
    again = Client().get(path, follow=True)
    assert 'name="password1"' not in again.content.decode()


def test_a_new_device_is_announced_by_email(client, boris, settings):
    settings.EMAIL_HOST = "mail.example"
    sign_in(client)
    assert [message.to for message in mail.outbox] == [["boris@company.example"]]
    sign_in(client)
    assert len(mail.outbox) == 1


def test_a_password_reset_is_sent_to_the_address(client, boris, settings):
    settings.EMAIL_HOST = "mail.example"
    client.post("/account/password/reset/", {"email": "boris@company.example"})
    assert len(mail.outbox) == 1 and "/account/password/link/" in mail.outbox[0].body
    client.post("/account/password/reset/", {"email": "nobody@company.example"})
    assert len(mail.outbox) == 1


def test_nobody_registers_alone(client):
    assert client.get("/account/signup/").status_code == 404


def test_commands_manage_the_access_of_a_user(client, boris):
    secret = add_authenticator_app(boris)
    sign_in(client)
    client.post("/account/second-factor/authenticate/", {"code": code_of(secret)})
    assert "/account/password/link/" in run_command("user", "link", "boris")
    assert run_command("user", "remove-second-factors", "boris") == "Removed the second factors. Ended 1 sessions.\n"
    assert client.get("/chats/").status_code == 302
    with pytest.raises(CommandError, match="no user"):
        run_command("user", "link", "nobody")


@pytest.mark.parametrize(
    ("what", "sentence"), [("link", "/account/password/link/"), ("sessions", ""), ("second-factor", "")]
)
def test_an_admin_manages_the_access_of_a_user(boris, what, sentence):
    browser, admin_browser = Client(), Client()
    sign_in(browser)
    add_authenticator_app(boris)
    admin_browser.force_login(vera())
    response = admin_browser.post(f"/admin/accounts/user/{boris.pk}/access/{what}/", follow=True)
    assert response.status_code == 200 and sentence in response.content.decode()
    assert browser.get("/chats/").status_code == (200 if what == "link" else 302)
    assert Authenticator.objects.filter(user=boris).exists() == (what != "second-factor")


def test_an_admin_manages_no_superuser():
    chief = UserFactory(is_superuser=True)
    browser = Client()
    browser.force_login(vera())
    assert browser.post(f"/admin/accounts/user/{chief.pk}/access/link/").status_code == 403


@pytest.mark.parametrize("password", ["P@ssw0rd1", "Qwerty123!", "drowssap", "iloveyou2026"])
def test_variations_of_leaked_passwords_are_refused(password):
    with pytest.raises(ValidationError):
        validate_password(password)


def test_a_good_password_is_accepted():
    validate_password(PASSWORD)


@pytest.mark.parametrize("page", ["edit", "remove"])
def test_nobody_changes_a_passkey_of_somebody_else(client, boris, page):
    stranger = UserFactory()
    key = Authenticator.objects.create(user=stranger, type=Authenticator.Type.WEBAUTHN, data={"name": "Mine"})
    sign_in(client)  # recent enough to need no confirmation
    assert client.post(f"/account/second-factor/webauthn/keys/{key.pk}/{page}/", {"name": "Theirs"}).status_code == 404
    assert Authenticator.objects.get(pk=key.pk).data["name"] == "Mine"
