"""Single sign-on against a real OpenID Connect server: who gets in, and with which role."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import oidc_provider_mock
import pytest
import requests
from allauth.account.models import EmailAddress
from allauth.socialaccount.models import SocialAccount
from django.contrib.auth import get_user_model
from django.core import mail
from django.core.cache import cache
from django.test import Client

from channels_setup.roles import Role, assign_role
from config.accounts.adapters import AccountAdapter
from config.audit.models import AuditRecord
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db
START = "/account/sso/company/login/"


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    with oidc_provider_mock.run_server_in_thread() as server:
        yield f"http://localhost:{server.server_port}"


@pytest.fixture(autouse=True)
def configured(provider: str, settings: Any) -> None:
    cache.clear()
    app = {
        "provider_id": "company",
        "name": "Company ID",
        "client_id": "okno",
        "secret": "client-secret",
        "settings": {"server_url": provider},
    }
    settings.SOCIALACCOUNT_PROVIDERS = {
        "openid_connect": {"OAUTH_PKCE_ENABLED": True, "EMAIL_AUTHENTICATION": True, "APPS": [app]}
    }
    settings.OIDC_GROUP_ROLES = ["okno-admins=admin", "support=operator"]


def sign_in(client: Client, provider: str, person: str, **claims: Any) -> Any:
    """Go through the whole flow as a browser would and return the last response."""
    email = f"{person}@company.example"
    facts = {"email": email, "email_verified": True, "name": "Boris Petrov", "preferred_username": person, **claims}
    assert requests.put(f"{provider}/users/{person}", json=facts, timeout=5).status_code == 204
    redirect = client.post(START)
    assert redirect.status_code == 302 and redirect.url.startswith(provider), redirect.content
    back = requests.post(redirect.url, data={"sub": person}, allow_redirects=False, timeout=5)
    return client.get(back.headers["Location"], follow=True)


def test_the_sign_in_page_offers_the_provider(client):
    assert "Company ID" in client.get("/login/").content.decode()


def test_a_person_in_a_listed_group_gets_an_account_with_its_role(client, provider):
    sign_in(client, provider, "boris", groups=["support"])
    user = get_user_model().objects.get(email="boris@company.example")
    assert (Role.of_user(user), user.has_usable_password(), user.get_full_name()) == (
        Role.OPERATOR,
        False,
        "Boris Petrov",
    )
    assert client.get("/chats/").status_code == 200


def test_a_person_in_no_listed_group_is_refused(client, provider):
    response = sign_in(client, provider, "mallory", groups=["sales"])
    assert response.status_code == 403
    assert not get_user_model().objects.filter(email="mallory@company.example").exists()
    assert client.get("/chats/").status_code == 302
    refused = AuditRecord.objects.get(action="sign_in_failed")
    assert (refused.source, refused.object_id, refused.object_label) == ("single_sign_on", "", "")


def test_the_role_follows_the_groups_at_each_sign_in(client, provider):
    sign_in(client, provider, "vera", groups=["okno-admins"])
    user = get_user_model().objects.get(email="vera@company.example")
    assert Role.of_user(user) == Role.ADMIN
    sign_in(Client(), provider, "vera", groups=["support"])
    user = get_user_model().objects.get(pk=user.pk)
    assert Role.of_user(user) == Role.OPERATOR


def test_the_strongest_role_of_all_groups_wins(client, provider, settings):
    settings.OIDC_GROUP_ROLES = ["readers=auditor", "support=operator", "leads=supervisor"]
    sign_in(client, provider, "zoe", groups=["readers", "support", "leads"])
    assert Role.of_user(get_user_model().objects.get(email="zoe@company.example")) == Role.SUPERVISOR


def test_a_person_who_left_all_groups_is_refused_and_loses_the_role(client, provider):
    sign_in(client, provider, "olga", groups=["support"])
    again = Client()
    assert sign_in(again, provider, "olga", groups=[]).status_code == 403
    assert again.get("/chats/").status_code == 302
    assert client.get("/chats/").status_code == 302  # the older session, too
    olga = get_user_model().objects.get(email="olga@company.example")
    assert Role.of_user(olga) is None
    refused = AuditRecord.objects.get(action="sign_in_failed")
    assert (refused.object_id, refused.object_label) == (str(olga.pk), olga.username)


def test_a_local_user_without_a_listed_group_keeps_the_role(client, provider):
    user = UserFactory(username="irina", email="irina@company.example")
    assign_role(user, role=Role.ADMIN)
    assert sign_in(client, provider, "irina", groups=["sales"]).status_code == 403
    assert Role.of_user(get_user_model().objects.get(pk=user.pk)) == Role.ADMIN


def test_an_existing_user_is_linked_by_a_verified_email(client, provider):
    user = UserFactory(username="anna", email="anna@company.example")
    sign_in(client, provider, "anna", groups=["support"])
    assert client.get("/chats/").status_code == 200
    assert get_user_model().objects.filter(email="anna@company.example").count() == 1
    assert int(client.session["_auth_user_id"]) == user.pk


def test_an_unverified_email_takes_over_nobody(client, provider):
    UserFactory(username="petr", email="petr@company.example")
    response = sign_in(client, provider, "petr", groups=["support"], email_verified=False)
    assert response.status_code == 403
    assert client.get("/chats/").status_code == 302


def test_a_deactivated_user_is_not_let_in(client, provider):
    UserFactory(username="ivan", email="ivan@company.example", is_active=False)
    sign_in(client, provider, "ivan", groups=["support"])
    assert client.get("/chats/").status_code == 302


def test_without_a_provider_the_address_does_not_exist(client, settings):
    settings.SOCIALACCOUNT_PROVIDERS = {}
    assert client.post(START).status_code == 404
    assert "Company ID" not in client.get("/login/").content.decode()


def test_people_with_single_sign_on_get_no_password_here(client, provider, settings):
    settings.EMAIL_HOST = "mail.example"
    sign_in(client, provider, "boris", groups=["support"])
    user = get_user_model().objects.get(email="boris@company.example")
    mail.outbox.clear()
    client.post("/account/password/reset/", {"email": user.email})
    assert mail.outbox == []
    page = client.post("/account/password/set/", {"password1": "korabl-i-more-7", "password2": "korabl-i-more-7"})
    assert page.status_code == 302
    user.refresh_from_db()
    assert not user.has_usable_password()
    for path in ("/account/second-factor/", "/account/email/", "/account/sessions/", "/account/"):
        assert client.get(path).status_code == 200


def test_a_linked_user_is_found_when_the_email_changes_at_the_provider(client, provider):
    user = UserFactory(username="anna", email="anna@company.example")
    sign_in(client, provider, "anna", groups=["support"])
    again = Client()
    sign_in(again, provider, "anna", groups=["support"], email="anna.new@company.example")
    assert int(again.session["_auth_user_id"]) == user.pk
    assert get_user_model().objects.count() == 1


def test_a_passkey_does_not_replace_the_provider(client, provider, rf):
    sign_in(client, provider, "olga", groups=["support"])
    user = get_user_model().objects.get(email="olga@company.example")
    request = client.get("/login/").wsgi_request
    request.session.flush()
    arguments = {"email_verification": "none", "signal_kwargs": None, "email": None, "signup": False}
    response = AccountAdapter().pre_login(request, user, redirect_url=None, **arguments)
    assert response is not None and response.status_code == 403


def test_a_lower_role_ends_the_other_sessions_of_the_person(client, provider):
    before = Client()
    sign_in(before, provider, "vera", groups=["okno-admins"])
    sign_in(client, provider, "vera", groups=["support"])
    assert before.get("/chats/").status_code == 302
    assert client.get("/chats/").status_code == 200


def test_an_address_that_somebody_else_has_only_entered_links_nobody(client, provider):
    thief = UserFactory(username="thief", email="thief@company.example")
    EmailAddress.objects.create(user=thief, email="chief@company.example")  # waits for its confirmation
    sign_in(client, provider, "chief", groups=["okno-admins"])
    chief = get_user_model().objects.get(email="chief@company.example")
    assert int(client.session["_auth_user_id"]) == chief.pk != thief.pk
    assert not SocialAccount.objects.filter(user=thief).exists()


def test_a_linked_user_keeps_the_password(client, provider):
    user = UserFactory(username="anna", email="Anna@Company.example")
    sign_in(client, provider, "anna", groups=["support"])
    user.refresh_from_db()
    assert user.has_usable_password() and int(client.session["_auth_user_id"]) == user.pk


def test_an_unverified_address_of_nobody_is_not_stored(client, provider):
    sign_in(client, provider, "eve", groups=["support"], email="chief@company.example", email_verified=False)
    eve = get_user_model().objects.get(pk=client.session["_auth_user_id"])
    assert eve.email == "" and not EmailAddress.objects.exists()
    owner = Client()
    sign_in(owner, provider, "chief", groups=["okno-admins"])
    assert int(owner.session["_auth_user_id"]) != eve.pk


def test_an_unverified_address_of_a_user_is_refused_in_any_case(client, provider):
    UserFactory(username="petr", email="Petr@Company.example")
    assert sign_in(client, provider, "petr", groups=["support"], email_verified=False).status_code == 403


@pytest.mark.parametrize("process", ["connect", "redirect"])
def test_an_account_at_the_provider_is_not_linked_to_the_current_user(client, provider, process):
    user = UserFactory(username="anna")
    client.force_login(user)
    facts = {"email": "olga@company.example", "email_verified": True, "groups": ["support"]}
    requests.put(f"{provider}/users/olga", json=facts, timeout=5)
    redirect = client.get(START, {"process": process, "scope": "offline_access", "auth_params": "acr_values=1"})
    assert "acr_values" not in redirect.url and "offline_access" not in redirect.url
    back = requests.post(redirect.url, data={"sub": "olga"}, allow_redirects=False, timeout=5)
    assert client.get(back.headers["Location"]).status_code == 302
    assert SocialAccount.objects.get().user != user


def test_single_sign_on_leads_to_the_page_that_was_asked_for(client, provider):
    page = client.get("/login/?next=/account/sessions/").content.decode()
    assert f"{START}?next=/account/sessions/" in page
    assert f'{START}"' in client.get("/login/?next=https://evil.example/").content.decode()
    facts = {"email": "olga@company.example", "email_verified": True, "groups": ["support"]}
    requests.put(f"{provider}/users/olga", json=facts, timeout=5)
    for asked, reached in (("/account/sessions/", "/account/sessions/"), ("https://evil.example/", "/")):
        browser = Client()
        redirect = browser.get(START, {"next": asked})
        back = requests.post(redirect.url, data={"sub": "olga"}, allow_redirects=False, timeout=5)
        assert browser.get(back.headers["Location"])["Location"] == reached


def test_a_provider_that_is_down_is_explained(client, settings):
    apps = settings.SOCIALACCOUNT_PROVIDERS["openid_connect"]["APPS"]
    apps[0]["settings"]["server_url"] = "http://localhost:9"  # nobody listens there
    response = client.get(START)
    assert response.status_code == 403 and "Единый вход не удался" in response.content.decode()


def test_people_with_single_sign_on_change_no_address_here(client, provider, settings):
    settings.EMAIL_HOST = "mail.example"
    sign_in(client, provider, "olga", groups=["support"])
    page = client.post("/account/email/", {"action_add": "", "email": "other@company.example"})
    assert page.status_code == 200
    assert not EmailAddress.objects.filter(email="other@company.example").exists()


def test_a_canceled_sign_in_has_its_own_page(client):
    state = parse_qs(urlsplit(client.get(START).url).query)["state"][0]
    callback = "/account/sso/company/callback/"
    page = client.get(callback, {"error": "access_denied", "state": state}, follow=True)
    assert page.status_code == 200 and "Вы отменили единый вход" in page.content.decode()
    assert client.get(callback, {"error": "access_denied", "state": "x"}).status_code == 403
