"""A person's own API tokens: created after a confirmation, never wider than the person, shown once, revoked."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from allauth.account.internal.flows.login import AUTHENTICATION_METHODS_SESSION_KEY, record_authentication
from django.contrib.auth import get_user_model
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone

from channels_setup.roles import Role, assign_role
from config.accounts.models import ApiToken, Scope
from tests.factories import PASSWORD, ChatChannelFactory, ConversationFactory, UserFactory, vera

pytestmark = pytest.mark.django_db
NEW, LIST = "/account/tokens/new/", "/account/tokens/"


@pytest.fixture
def chat() -> Any:
    return ConversationFactory()


@pytest.fixture
def boris(chat: Any) -> Any:
    user = UserFactory(username="boris")
    assign_role(user, role=Role.OPERATOR, chat_channels=[chat.chat_channel])
    return user


def browser_of(user: Any, *, is_confirmed: bool = True) -> Client:
    browser = Client(headers={"accept-language": "en"})
    browser.force_login(user)
    if is_confirmed:
        assert browser.post("/account/confirm/", {"password": PASSWORD}).status_code == 302
    return browser


def age_confirmations(browser: Client) -> None:
    """Make all confirmations of the browser older than allowed."""
    session = browser.session
    for record in session[AUTHENTICATION_METHODS_SESSION_KEY]:
        record["at"] -= 901
    session.save()


def form(**values: Any) -> dict[str, Any]:
    day = timezone.localdate() + timedelta(days=30)
    return {"name": "CRM", "scope": "read", "valid_until": day.isoformat(), **values}


def call(text: str) -> Any:
    return Client(headers={"authorization": f"Token {text}"}, REMOTE_ADDR="203.0.113.7").get("/api/v1/conversations/")


def test_a_person_creates_uses_and_revokes_a_token(boris: Any, chat: Any) -> None:
    ConversationFactory()  # of another channel
    browser = browser_of(boris)
    assert browser.get(NEW).status_code == 200
    made = browser.post(NEW, form())
    text, token = made.context["value"], ApiToken.objects.get()

    assert text in made.content.decode() and "no-store" in made["Cache-Control"]
    assert token.user == boris and token.scope == Scope.READ
    assert token.expires_at is not None and timedelta(29) < token.expires_at - timezone.now() <= timedelta(31)
    assert [row["id"] for row in call(text).json()["results"]] == [chat.pk]
    listed = browser.get(LIST).content.decode()
    assert token.prefix in listed and "203.0.113.7" in listed and text not in listed
    assert text not in json.dumps(dict(browser.session.items()), default=str)

    assert browser.get(reverse("own-token-revoke", args=[token.pk])).status_code == 405
    assert browser.post(reverse("own-token-revoke", args=[token.pk])).status_code == 302
    assert call(text).status_code == 401 and "revoked" in browser.get(LIST).content.decode()


def test_creating_needs_a_recent_confirmation(boris: Any) -> None:
    browser = browser_of(boris, is_confirmed=False)
    assert browser.get(LIST).status_code == 200
    assert browser.get(NEW)["Location"].startswith("/account/confirm/")
    asked = browser.post(NEW, form())
    assert asked["Location"].startswith("/account/confirm/") and not ApiToken.objects.exists()

    wrong = browser.post(asked["Location"], {"password": "wrong"})
    assert wrong.status_code == 200 and not ApiToken.objects.exists()
    made = browser.post(asked["Location"], {"password": PASSWORD, "next": NEW})
    assert made.context["value"] and ApiToken.objects.get().name == "CRM"  # the form was not lost


def test_an_old_confirmation_does_not_count(boris: Any) -> None:
    browser = browser_of(boris)
    age_confirmations(browser)
    assert browser.post(NEW, form()).status_code == 302 and not ApiToken.objects.exists()


def test_without_a_password_a_recent_single_sign_on_counts(boris: Any) -> None:
    boris.set_unusable_password()
    boris.save()
    browser = browser_of(boris, is_confirmed=False)
    assert browser.post(NEW, form()).status_code == 403
    request = RequestFactory().get("/")
    request.session = browser.session
    record_authentication(request, boris, method="socialaccount")
    request.session.save()
    assert browser.post(NEW, form()).status_code == 200 and ApiToken.objects.count() == 1

    age_confirmations(browser)
    assert browser.post(NEW, form()).status_code == 403


WRONG_FORMS: list[dict[str, Any]] = [
    {"name": ""},
    {"name": "x" * 101},
    {"name": "a\x07b"},
    {"name": "a\u202eb"},
    {"scope": "metrics"},
    {"scope": "admin"},
    {"valid_until": ""},
    {"valid_until": "2020-01-01"},
    {"valid_until": "9999-12-31"},
    {"valid_until": "0000-00-00"},
    {"valid_until": (timezone.localdate() + timedelta(days=400)).isoformat()},
    {"chat_channels": ["x"]},
    {"chat_channels": ["9" * 4400]},
]


@pytest.mark.parametrize("wrong", WRONG_FORMS)
def test_an_invalid_form_creates_nothing(boris: Any, wrong: dict[str, Any]) -> None:
    answer = browser_of(boris).post(NEW, form(**wrong))
    assert answer.status_code == 200 and answer.context["form"].errors and not ApiToken.objects.exists()


def test_a_person_gives_no_channel_that_they_do_not_see(boris: Any) -> None:
    foreign = ChatChannelFactory(name="Foreign shop")
    browser = browser_of(boris)
    assert "Foreign shop" not in browser.get(NEW).content.decode()
    assert browser.post(NEW, form(chat_channels=[foreign.pk])).context["form"].errors
    assert not ApiToken.objects.exists()


def test_a_token_of_one_channel_loses_it_with_the_person(boris: Any, chat: Any) -> None:
    text = browser_of(boris).post(NEW, form(chat_channels=[chat.chat_channel_id])).context["value"]
    assert ApiToken.objects.get().is_limited_to_channels and len(call(text).json()["results"]) == 1
    chat.chat_channel.operators.remove(boris)
    assert call(text).json()["results"] == []


def test_an_admin_may_create_a_token_for_metrics() -> None:
    vera().set_password(PASSWORD)
    made = browser_of(vera()).post(NEW, form(scope="metrics"))
    client = Client(headers={"authorization": f"Token {made.context['value']}"}, REMOTE_ADDR="203.0.113.7")
    assert client.get("/metrics").status_code == 200 and client.get("/api/v1/conversations/").status_code == 403


def test_others_tokens_are_not_found(boris: Any) -> None:
    token, _text = ApiToken.issue(vera(), name="admin's")
    browser = browser_of(boris)
    assert "admin&#x27;s" not in browser.get(LIST).content.decode()
    assert browser.post(reverse("own-token-revoke", args=[token.pk])).status_code == 404
    token.refresh_from_db()
    assert token.revoked_at is None


def test_a_setting_forbids_own_tokens_by_role(boris: Any, settings: Any) -> None:
    mine, _text = ApiToken.issue(boris, name="old")
    settings.OWN_TOKEN_ROLES = ["admin"]
    browser = browser_of(boris)
    assert NEW not in browser.get(LIST).content.decode()
    assert browser.post(NEW, form()).status_code == 403 and ApiToken.objects.count() == 1
    assert browser.post(reverse("own-token-revoke", args=[mine.pk])).status_code == 302  # ending one is always allowed


def test_the_longest_validity_is_a_setting(boris: Any, settings: Any) -> None:
    settings.OWN_TOKEN_MAX_DAYS = 7
    browser = browser_of(boris)
    last = timezone.localdate() + timedelta(days=7)
    assert browser.get(NEW).context["form"]["valid_until"].value() == last
    assert browser.post(NEW, form()).context["form"].errors
    assert browser.post(NEW, form(valid_until=last.isoformat())).context["value"]


def test_a_required_second_factor_comes_first(boris: Any, settings: Any) -> None:
    settings.SECOND_FACTOR_ROLES = ["operator"]
    browser = browser_of(boris)
    for path in (LIST, NEW):
        assert browser.get(path)["Location"] == "/account/second-factor/"
    assert browser.post(NEW, form())["Location"] == "/account/second-factor/" and not ApiToken.objects.exists()


def test_expiring_tokens_are_marked(boris: Any) -> None:
    ApiToken.issue(boris, name="soon", expires_at=timezone.now() + timedelta(days=3))
    assert "expires soon" in browser_of(boris).get(LIST).content.decode()
    assert get_user_model().objects.count() == 1
