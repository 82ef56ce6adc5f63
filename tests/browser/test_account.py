"""The own account in a real Chromium: sign-in with a second factor, one-time links, email, sessions, single sign-on."""

from __future__ import annotations

import re
from typing import Any

import oidc_provider_mock
import pytest
import requests
from allauth.mfa.totp.internal import auth as totp
from django.core import mail
from django.core.cache import cache
from django.test import Client
from playwright.sync_api import Browser, Page, expect

from channels_setup.roles import Role, assign_role
from config.accounts import sessions
from config.accounts.models import User
from tests.browser.test_axe import look
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db(transaction=True)
PASSWORD, NEW_PASSWORD = "correct-Horse-battery", "another-Horse-9"
ACCOUNT_PAGES = (
    *("/account/", "/account/password/", "/account/email/", "/account/sessions/", "/account/second-factor/"),
    *("/account/second-factor/totp/activate/", "/account/second-factor/webauthn/add/"),
    *("/account/second-factor/webauthn/", "/account/second-factor/recovery-codes/generate/"),
    *("/account/tokens/", "/account/tokens/new/"),
)
SIGNED_OUT_PAGES = ("/account/password/reset/", "/account/password/link/1-x/", "/account/email/confirm/x/")

WIDER_THAN_THE_SCREEN = """
(card) => [...card.querySelectorAll('*')].filter((part) => part.getBoundingClientRect().right > innerWidth).length
"""


@pytest.fixture(autouse=True)
def mail_server(settings: Any, live_server: Any) -> None:
    cache.clear()
    settings.EMAIL_HOST = "mail.example"
    settings.PUBLIC_URL = str(live_server)


@pytest.fixture
def boris() -> User:
    user = UserFactory(username="boris", email="boris@company.example", language="en")
    user.set_password(PASSWORD)
    user.save()
    assign_role(user, role=Role.OPERATOR)
    return user


def sign_in(page: Page, password: str = PASSWORD, *, name: str = "boris") -> None:
    page.goto("/login/")
    page.fill("[name=username]", name)
    page.fill("[name=password]", password)
    page.click("form:has([name=password]) .button.main")
    page.wait_for_url(lambda url: "/login/" not in url)


def sign_out(page: Page) -> None:
    page.context.clear_cookies()


def enter_code(page: Page, code: str) -> None:
    page.fill("[name=code]", code)
    page.click("form:has([name=code]) .button.main")


def is_signed_in(page: Page) -> bool:
    page.goto("/account/sessions/")
    return "/login/" not in page.url


def link_in_email() -> str:
    found = re.search(r"https?://\S+/account/\S+", str(mail.outbox[-1].body))
    assert found, mail.outbox[-1].body
    return found[0]


def current_code(secret: str, step: int = 0) -> str:
    counter = next(totp.yield_hotp_counters_from_time()) + step  # the first is that of half a minute ago
    return totp.format_hotp_value(totp.hotp_value(secret, counter))


def test_an_authenticator_app_and_recovery_codes(page: Page, boris: User) -> None:
    sign_in(page)
    page.goto("/account/second-factor/")
    page.click("a[href$='/totp/activate/']")
    secret = page.locator("code").inner_text().strip()
    enter_code(page, "000000")
    expect(page.locator(".field-error")).to_be_visible()
    enter_code(page, current_code(secret))
    codes = page.locator(".codes").inner_text().split()
    assert len(codes) == 10
    page.goto("/account/second-factor/recovery-codes/")
    assert page.locator(".codes").count() == 0  # shown once

    sign_out(page)
    sign_in(page)
    enter_code(page, current_code(secret, 1))
    page.wait_for_url(lambda url: "second-factor" not in url)
    assert is_signed_in(page)

    for code, signs_in in ((codes[0], True), (codes[0], False), (codes[1], True)):
        sign_out(page)
        sign_in(page)
        enter_code(page, code)
        if signs_in:
            page.wait_for_url(lambda url: "second-factor" not in url)
        else:
            expect(page.locator(".field-error")).to_be_visible()
        assert is_signed_in(page) == signs_in


def test_a_password_is_reset_by_email(page: Page, boris: User) -> None:
    other = Client()
    other.post("/login/", {"username": "boris", "password": PASSWORD})
    page.goto("/login/")
    page.click("a[href='/account/password/reset/']")
    page.fill("[name=email]", "boris@company.example")
    page.click("form:has([name=email]) .button.main")
    page.wait_for_url("**/sent/")
    assert mail.outbox[-1].subject == "Reset your password"
    link = link_in_email()
    page.goto(link)
    for name in ("password1", "password2"):
        page.fill(f"[name={name}]", "Qwerty123!")
    page.click("form:has([name=password1]) .button.main")
    expect(page.locator(".field-error").first).to_be_visible()  # a leaked password
    for name in ("password1", "password2"):
        page.fill(f"[name={name}]", NEW_PASSWORD)
    page.click("form:has([name=password1]) .button.main")
    page.wait_for_url("**/done/")
    assert other.get("/chats/").status_code == 302
    page.goto(link)
    assert page.locator("[name=password1]").count() == 0
    sign_in(page, NEW_PASSWORD)
    assert is_signed_in(page)


def test_an_invited_person_chooses_a_password(page: Page, boris: User) -> None:
    chief = UserFactory(is_superuser=True, is_staff=True)
    invited = UserFactory(username="gleb", email="gleb@company.example", language="en")
    admin = Client()
    admin.force_login(chief)
    admin.post(f"/admin/accounts/user/{invited.pk}/access/link/", {"way": "email"})
    page.goto(link_in_email())
    expect(page.locator("b")).to_have_text("gleb")
    for name in ("password1", "password2"):
        page.fill(f"[name={name}]", NEW_PASSWORD)
    page.click("form:has([name=password1]) .button.main")
    page.wait_for_url("**/done/")
    sign_in(page, NEW_PASSWORD, name="gleb")
    assert is_signed_in(page)


def test_the_own_profile_email_and_sessions(page: Page, browser: Browser, live_server: Any, boris: User) -> None:
    sign_in(page)
    page.click("details.menu summary")
    page.click(".menu-panel a[href='/account/']")
    page.fill("[name=display_name]", "Boris B.")
    page.select_option("[name=time_zone]", "Asia/Tokyo")
    page.click("form.account-form .button.main")
    page.wait_for_url("**/?saved=1")
    boris.refresh_from_db()
    assert (boris.display_name, boris.time_zone) == ("Boris B.", "Asia/Tokyo")

    page.goto("/account/email/")
    page.fill("[name=email]", "new@company.example")
    page.click("[name=action_add]")
    expect(page.locator("text=is not confirmed yet")).to_be_visible()
    page.goto(link_in_email())
    page.click(".centered-card form .button.main")
    page.wait_for_url(lambda url: "/confirm/" not in url)
    boris.refresh_from_db()
    assert boris.email == "new@company.example"

    elsewhere = browser.new_context(base_url=str(live_server)).new_page()
    sign_in(elsewhere)
    page.goto("/account/sessions/")
    page.click(".account-list form .button")
    expect(page.locator(".account-list li")).to_have_count(1)
    assert not is_signed_in(elsewhere)
    elsewhere.context.close()

    session = boris.usersession_set.get()
    store = session._session_store(session.session_key)
    store[sessions.LAST_USED_KEY] -= 13 * 3600
    store.save()
    assert not is_signed_in(page)  # idle for too long


def test_an_admin_without_a_required_second_factor_sets_one_up(page: Page, boris: User, settings: Any) -> None:
    settings.SECOND_FACTOR_ROLES = ["admin"]
    assign_role(boris, role=Role.ADMIN)
    sign_in(page)
    for path in ("/chats/", "/", "/admin/", "/account/", "/account/email/", "/requests/"):
        page.goto(path)
        assert page.url.endswith("/account/second-factor/"), path
    expect(page.locator(".notice.warn[role=alert]")).to_be_visible()
    assert page.evaluate("async () => (await fetch('/api/v1/conversations/')).status") == 403
    page.click("a[href$='/totp/activate/']")
    enter_code(page, current_code(page.locator("code").inner_text().strip()))
    page.wait_for_url("**/recovery-codes/")
    page.goto("/admin/")
    assert page.url.endswith("/admin/")


def test_single_sign_on_from_the_sign_in_page(page: Page, settings: Any) -> None:
    """The browser's rules count here: form-action of the content security policy forbids redirects of forms."""
    with oidc_provider_mock.run_server_in_thread() as server:
        provider = f"http://localhost:{server.server_port}"
        app = {"provider_id": "company", "name": "Company ID", "client_id": "okno", "secret": "client-secret"}
        settings.SOCIALACCOUNT_PROVIDERS = {
            "openid_connect": {"OAUTH_PKCE_ENABLED": True, "APPS": [{**app, "settings": {"server_url": provider}}]}
        }
        settings.OIDC_GROUP_ROLES = ["support=operator"]
        person = {"email": "olga@company.example", "email_verified": True, "groups": ["support"]}
        requests.put(f"{provider}/users/olga", json=person, timeout=5)
        page.goto("/login/")
        page.click("text=Company ID")
        page.fill("[name=sub]", "olga")
        page.keyboard.press("Enter")
        page.wait_for_url("**/chats/")
        assert User.objects.get().email == "olga@company.example"


def test_the_pages_of_the_account_fit_a_phone_and_are_accessible(page: Page, boris: User) -> None:
    for path in SIGNED_OUT_PAGES:
        look(page, path)
    sign_in(page)
    page.set_viewport_size({"width": 320, "height": 640})
    for path in ACCOUNT_PAGES:
        look(page, path)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        assert page.locator(".account").evaluate(WIDER_THAN_THE_SCREEN) == 0, path
