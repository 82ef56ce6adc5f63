"""Sessions end with a changed password, a deactivation and a lower role, and never return."""

from __future__ import annotations

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal import auth as totp
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client

from channels_setup.roles import Role, assign_role
from config.accounts import one_time_links, sessions
from config.accounts.models import User
from tests.factories import UserFactory, vera
from tests.test_own_account import PASSWORD, add_authenticator_app, boris, path_of, sign_in  # noqa: F401

pytestmark = pytest.mark.django_db


def is_signed_in(client: Client) -> bool:
    return client.get("/chats/").status_code == 200


def deactivate_by_saving(user: User) -> None:
    user.is_active = False
    user.save()


def deactivate_without_signals(user: User) -> None:
    get_user_model().objects.filter(pk=user.pk).update(is_active=False)


def deactivate_by_sql(user: User) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE accounts_user SET is_active = false WHERE id = %s", [user.pk])


@pytest.mark.parametrize("deactivate", [deactivate_by_saving, deactivate_without_signals, deactivate_by_sql])
def test_sessions_of_a_reactivated_user_do_not_return(client, boris, deactivate):  # noqa: F811
    sign_in(client)
    assert is_signed_in(client)
    link = path_of(one_time_links.password_link(get_user_model().objects.get(pk=boris.pk)))
    deactivate(boris)
    boris.is_active = True
    boris.save()  # an instance that still holds the old epoch
    assert not is_signed_in(client)
    assert 'name="password1"' not in Client().get(link, follow=True).content.decode()
    again = Client()
    sign_in(again)
    assert is_signed_in(again)


def test_a_lower_role_ends_sessions():
    admin = vera()
    browser = Client()
    browser.force_login(admin)
    assert is_signed_in(browser)
    assign_role(admin, role=Role.OPERATOR)
    assert not is_signed_in(browser)


def test_a_higher_role_ends_no_session(client, boris):  # noqa: F811
    sign_in(client)
    assign_role(boris, role=Role.ADMIN)
    assert is_signed_in(client)


def test_ending_the_others_keeps_the_current_session(client, boris):  # noqa: F811
    other, unlisted = Client(), Client()
    for browser in (other, unlisted, client):
        sign_in(browser)
    boris.usersession_set.filter(session_key=unlisted.session.session_key).delete()
    client.post("/account/sessions/end-others/")
    assert [is_signed_in(browser) for browser in (client, other, unlisted)] == [True, False, False]


def test_removing_the_last_required_factor_ends_the_other_sessions(client, boris, settings):  # noqa: F811
    settings.SECOND_FACTOR_ROLES = ["operator"]
    other = Client()
    sign_in(other)
    sign_in(client)
    add_authenticator_app(boris)
    assert is_signed_in(client) and is_signed_in(other)
    assert client.post("/account/second-factor/totp/deactivate/").status_code == 302
    assert not Authenticator.objects.filter(user=boris).exists()
    assert client.get("/chats/").url == "/account/second-factor/"
    assert other.get("/chats/").url.startswith("/login/")


@pytest.mark.parametrize(
    "path", ["/account/", "/account/email/", "/account/sessions/", "/account/password/", "/chats/", "/admin/", "/"]
)
def test_a_missing_second_factor_closes_all_other_pages(path, settings):
    settings.SECOND_FACTOR_ROLES = ["admin"]
    browser = Client()
    browser.force_login(vera())
    assert browser.get(path).url == "/account/second-factor/"
    assert browser.post(path).url == "/account/second-factor/"


@pytest.mark.parametrize("path", ["/api/v1/conversations/", "/api/v1/contacts/", "/uapi/clients"])
def test_a_missing_second_factor_closes_the_api_for_sessions(path, settings):
    settings.SECOND_FACTOR_ROLES = ["admin"]
    browser = Client()
    browser.force_login(vera())
    response = browser.get(path)
    assert (response.status_code, response.json()["reason"]) == (403, "second_factor")


def test_the_second_factor_can_be_set_up_when_it_is_missing(client, boris, settings):  # noqa: F811
    settings.SECOND_FACTOR_ROLES = ["operator"]
    sign_in(client)
    page = client.get("/account/second-factor/totp/activate/")
    secret = page.context["form"].secret
    code = totp.format_hotp_value(totp.hotp_value(secret, next(totp.yield_hotp_counters_from_time())))
    assert client.post("/account/second-factor/totp/activate/", {"code": code}).status_code == 302
    assert is_signed_in(client)


def test_end_sessions_says_how_many(client, boris):  # noqa: F811
    sign_in(client)
    assert sessions.end_sessions(boris) == "Ended 1 sessions."
    assert not is_signed_in(client)
    assert UserFactory().session_epoch == 0
