"""Passkeys and second factors in a real Chromium with a virtual authenticator."""

from __future__ import annotations

import pytest
from allauth.mfa.models import Authenticator
from django.core.cache import cache
from playwright.sync_api import BrowserContext, Page, expect

from config.accounts.models import User
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db(transaction=True)
PASSWORD = "correct-Horse-battery"


@pytest.fixture
def site(live_server) -> str:
    """Return the address with a host name: browsers allow no passkeys for IP addresses."""
    cache.clear()
    return str(live_server.url).replace("127.0.0.1", "localhost")


@pytest.fixture
def vera() -> User:
    user = UserFactory(username="vera", language="en")
    user.set_password(PASSWORD)
    user.save()
    return user


@pytest.fixture
def authenticator(context: BrowserContext, page: Page) -> None:
    session = context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
    }
    session.send("WebAuthn.addVirtualAuthenticator", {"options": options})


def sign_in_by_password(page: Page, site: str) -> None:
    page.goto(f"{site}/login/")
    page.fill("[name=username]", "vera")
    page.fill("[name=password]", PASSWORD)
    page.click(".centered-card form >> .button.main")
    page.wait_for_url(lambda url: "/login/" not in url)


def test_a_passkey_is_added_and_signs_in_without_a_password(page: Page, site: str, vera: User, authenticator) -> None:
    sign_in_by_password(page, site)
    page.goto(f"{site}/account/second-factor/webauthn/add/")
    page.check("[name=passwordless]")
    page.click("#mfa_webauthn_add")
    expect(page.locator(".codes")).to_be_visible()  # recovery codes come with the first factor
    assert Authenticator.objects.filter(user=vera, type=Authenticator.Type.WEBAUTHN).count() == 1

    page.context.clear_cookies()
    page.goto(f"{site}/login/")
    page.click("#passkey_login")
    page.wait_for_url(lambda url: "/login/" not in url)
    page.goto(f"{site}/account/")
    expect(page.locator("[name=display_name]")).to_be_visible()


def test_an_address_without_passkeys_is_named(page: Page, live_server) -> None:
    page.goto(str(live_server.url).replace("localhost", "127.0.0.1") + "/login/")
    page.click("#passkey_login")
    expect(page.locator("#passkey-unsupported")).to_be_visible()
    expect(page.locator("#passkey-error")).to_be_hidden()


def test_a_passkey_serves_as_the_second_factor(page: Page, site: str, vera: User, authenticator) -> None:
    sign_in_by_password(page, site)
    page.goto(f"{site}/account/second-factor/webauthn/add/")
    page.click("#mfa_webauthn_add")
    expect(page.locator(".codes")).to_be_visible()

    page.context.clear_cookies()
    sign_in_by_password(page, site)
    page.wait_for_url("**/account/second-factor/authenticate/")
    page.click("#mfa_webauthn_authenticate")
    page.wait_for_url(lambda url: "/second-factor/" not in url)
    page.goto(f"{site}/account/")
    expect(page.locator("[name=display_name]")).to_be_visible()


def test_a_passkey_is_removed(page: Page, site: str, vera: User, authenticator) -> None:
    sign_in_by_password(page, site)
    page.goto(f"{site}/account/second-factor/webauthn/add/")
    page.click("#mfa_webauthn_add")
    expect(page.locator(".codes")).to_be_visible()
    page.goto(f"{site}/account/second-factor/webauthn/")
    page.click("text=Remove")
    page.click(".account-actions .button.main")
    expect(page.locator("text=No passkeys yet.")).to_be_visible()
    assert not Authenticator.objects.filter(user=vera).exists()  # recovery codes alone would be no second factor

    page.context.clear_cookies()
    sign_in_by_password(page, site)
    assert "second-factor" not in page.url
    page.context.clear_cookies()
    page.goto(f"{site}/login/")
    page.click("#passkey_login")
    expect(page.locator("#passkey-error")).to_be_visible()  # the device offers a key that the portal no longer knows
