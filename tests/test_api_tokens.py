"""API tokens: hashed, shown once, several per user, invalid once expired, revoked or the user is deactivated."""

import hashlib
import json
from datetime import timedelta
from io import StringIO
from typing import Any

import psycopg2
import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from config.accounts.models import ApiToken
from tests.factories import ApiChannelFactory, UserFactory, boris, vera

pytestmark = pytest.mark.django_db


@pytest.fixture
def browser_of_vera() -> Client:
    client = Client(headers={"accept-language": "en"})
    client.force_login(vera())
    return client


def call(client: Client, text: str) -> Any:
    return client.get("/api/v1/messages/", headers={"authorization": f"Token {text}", "accept-language": "en"})


def run(*words: str) -> str:
    out = StringIO()
    call_command("token", *words, stdout=out)
    return out.getvalue().strip()


# --- what lets in ----------------------------------------------------------------------------------------


def test_only_the_hash_is_stored_and_a_user_can_have_several_tokens(client: Client) -> None:
    first, text = ApiToken.issue(vera(), name="CRM")
    _second, other = ApiToken.issue(vera(), name="CRM")

    assert text != other and len(text) >= 40 and text.startswith(first.prefix)
    assert bytes(first.digest) == hashlib.sha256(text.encode()).digest()
    with connection.cursor() as cursor:
        cursor.execute("SELECT t::text FROM accounts_apitoken t")
        stored = str(cursor.fetchall())
    secret = text.removeprefix(first.prefix)
    assert secret not in stored and text not in f"{first!r} {first}"
    assert [call(client, each).status_code for each in (text, other)] == [200, 200]


STATES: dict[str, tuple[Any, str]] = {
    "revoked": (lambda token: ApiToken.objects.filter(pk=token.pk).revoke(), "revoked"),
    "expired": (lambda token: ApiToken.objects.filter(pk=token.pk).update(expires_at=timezone.now()), "expired"),
    "user switched off by query": (lambda token: people(token).update(is_active=False), "deactivated"),
    "user switched off by save": (lambda token: set_active(token.user, on=False), "deactivated"),
    "user deleted": (lambda token: people(token).delete(), "Unknown"),
    "token deleted": (lambda token: token.delete(), "Unknown"),
}


def people(token: ApiToken) -> Any:
    return get_user_model().objects.filter(pk=token.user_id)


def set_active(user: Any, *, on: bool) -> None:
    user.is_active = on
    user.save()


@pytest.mark.parametrize("state", STATES)
def test_an_ended_token_is_refused_with_its_reason(client: Client, state: str) -> None:
    token, text = ApiToken.issue(boris(), name="CRM")
    assert call(client, text).status_code == 200

    STATES[state][0](token)

    answer = call(client, text)
    assert answer.status_code == 401 and STATES[state][1] in answer.json()["error"]


def test_reactivating_a_user_restores_no_token(client: Client) -> None:
    user = boris()
    _token, text = ApiToken.issue(user, name="CRM")

    set_active(user, on=False)
    set_active(user, on=True)

    assert call(client, text).status_code == 401
    assert call(client, ApiToken.issue(user, name="new")[1]).status_code == 200


@pytest.mark.parametrize("form", ["", "{0} {0}", "{0}x", "{1}", "{2}", "\x00", "\ud800", "я", "x" * 7000])
def test_a_malformed_token_is_refused(client: Client, form: str) -> None:
    token, text = ApiToken.issue(vera(), name="CRM")
    malformed = form.format(text, token.prefix, bytes(token.digest).hex())
    header = f"Token {malformed}".encode("utf-8", "surrogatepass").decode("latin-1")

    assert client.get("/api/v1/messages/", HTTP_AUTHORIZATION=header).status_code == 401


def test_last_use_is_updated_at_most_once_a_minute(client: Client) -> None:
    token, text = ApiToken.issue(vera(), name="CRM")
    assert token.last_used_at is None
    call(client, text)
    token.refresh_from_db()
    first = token.last_used_at
    assert first is not None

    call(client, text)
    token.refresh_from_db()
    assert token.last_used_at == first

    ApiToken.objects.filter(pk=token.pk).update(last_used_at=first - timedelta(seconds=61))
    call(client, text)
    token.refresh_from_db()
    assert token.last_used_at is not None and token.last_used_at >= first


@pytest.mark.django_db(transaction=True)
def test_updating_last_use_waits_for_no_lock(client: Client) -> None:
    token, text = ApiToken.issue(vera(), name="CRM")
    known = connection.get_connection_params()
    other = psycopg2.connect(**{name: known[name] for name in known if name not in ("cursor_factory", "options")})
    try:
        other.cursor().execute("SELECT 1 FROM accounts_apitoken WHERE id = %s FOR UPDATE", [token.pk])
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '100ms'")
        assert call(client, text).status_code == 200
    finally:
        other.close()
        with connection.cursor() as cursor:
            cursor.execute("RESET lock_timeout")

    token.refresh_from_db()
    assert token.last_used_at is None


def test_tokens_can_read_while_the_database_is_read_only(client: Client) -> None:
    token, text = ApiToken.issue(vera(), name="Prometheus")
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION READ ONLY")  # until the end of the block
        metrics = client.get("/metrics", headers={"authorization": f"Token {text}"}, REMOTE_ADDR="203.0.113.7")
        read = call(client, text)

    assert (read.status_code, metrics.status_code) == (200, 200)
    token.refresh_from_db()
    assert token.last_used_at is None


# --- tokens of before ------------------------------------------------------------------------------------


# --- command line ----------------------------------------------------------------------------------------


def test_commands_create_list_and_revoke_tokens(client: Client) -> None:
    vera(), boris()
    text, other = run("create", "vera", "--name", "Prometheus", "--days", "90"), run("create", "boris")
    token = ApiToken.objects.get(name="Prometheus")
    assert token.expires_at is not None and timedelta(89) < token.expires_at - timezone.now() < timedelta(91)
    assert call(client, text).status_code == 200

    listed = run("list")
    assert token.prefix in listed and "Prometheus" in listed and text not in listed and other not in listed
    assert [row["user"] for row in json.loads(run("list", "vera", "--output", "json"))] == ["vera"]

    run("revoke", token.prefix)
    assert [call(client, each).status_code for each in (text, other)] == [401, 200]
    third = run("create", "boris")
    assert run("revoke", "boris").endswith("2.")
    assert [call(client, each).status_code for each in (other, third)] == [401, 401]
    number = ApiToken.issue(vera(), name="x")[0].pk
    run("revoke", str(number))
    assert not ApiToken.objects.active(timezone.now()).exists()


@pytest.mark.parametrize(
    "words",
    [
        ("create", "nobody"),
        ("create", "vera", "--name", ""),
        ("create", "vera", "--name", "x" * 101),
        ("create", "vera", "--name", "a\0b"),
        ("create", "vera", "--days", "0"),
        ("create", "vera", "--days", "99999999999"),
        ("list", "nobody"),
        ("revoke", "nobody"),
        ("revoke", "vera"),
        ("revoke", "9" * 30),
    ],
)
def test_an_invalid_command_prints_an_explanation(words: tuple[str, ...]) -> None:
    vera()

    with pytest.raises(CommandError, match=r"\.$|list$"):
        run(*words)

    assert not ApiToken.objects.exists()


# --- the admin -------------------------------------------------------------------------------------------


def create_in_admin(client: Client, person: Any, **more: str) -> Any:
    return client.post(
        reverse("admin:accounts_apitoken_add"), {"user": person.pk, "name": "CRM", "scope": "write", **more}
    )


def test_the_admin_shows_a_new_token_only_once(browser_of_vera: Client, client: Client) -> None:
    answer = create_in_admin(browser_of_vera, boris())

    token = ApiToken.objects.get()
    text = answer.context["value"]
    assert answer.status_code == 200 and text in answer.content.decode()
    assert "no-store" in answer["Cache-Control"] and call(client, text).status_code == 200
    secret = text.removeprefix(token.prefix)
    pages = [
        reverse("admin:accounts_apitoken_changelist"),
        reverse("admin:accounts_apitoken_change", args=[token.pk]),
        reverse("admin:accounts_apitoken_history", args=[token.pk]),
        reverse("admin:accounts_user_change", args=[token.user_id]),
        reverse("admin:accounts_user_delete", args=[token.user_id]),
        reverse("admin:index"),
    ]
    responses = {page: browser_of_vera.get(page) for page in pages}
    assert {page: found.status_code for page, found in responses.items()} == dict.fromkeys(pages, 200)
    bulk = {"action": "delete_selected", "_selected_action": [token.user_id]}
    deletion = browser_of_vera.post(reverse("admin:accounts_user_changelist"), bulk)
    for found in (*responses.values(), deletion):
        assert secret not in found.content.decode() and bytes(token.digest).hex() not in found.content.decode()
    assert token.prefix in deletion.content.decode()
    assert secret not in str([(row.object_repr, row.change_message) for row in LogEntry.objects.all()])
    assert secret not in json.dumps(dict(browser_of_vera.session.items()), default=str)


def test_the_admin_revokes_one_or_several_tokens(browser_of_vera: Client, client: Client) -> None:
    made = [ApiToken.issue(boris(), name=f"CRM {number}") for number in range(3)]
    page = reverse("admin:accounts_apitoken_revoke", args=[made[0][0].pk])

    assert browser_of_vera.get(page).status_code == 405
    assert browser_of_vera.post(page).status_code == 302
    chosen = {"action": "revoke_selected", "_selected_action": [made[1][0].pk]}
    assert browser_of_vera.post(reverse("admin:accounts_apitoken_changelist"), chosen).status_code == 302

    assert [call(client, text).status_code for _token, text in made] == [401, 401, 200]
    assert LogEntry.objects.filter(change_message__contains="Revoked").count() == 2
    assert browser_of_vera.get(reverse("admin:accounts_apitoken_delete", args=[made[2][0].pk])).status_code == 403


def test_a_user_with_tokens_can_be_deleted_in_the_admin(browser_of_vera: Client, client: Client) -> None:
    user = UserFactory()
    _token, text = ApiToken.issue(user, name="CRM")

    browser_of_vera.post(reverse("admin:accounts_user_delete", args=[user.pk]), {"post": "yes"})

    assert call(client, text).status_code == 401 and not ApiToken.objects.exists()


@pytest.mark.parametrize(
    "more",
    [
        {"name": ""},
        {"name": "x" * 101},
        {"user": "x"},
        {"user": "9" * 4000},
        {"expires_at_0": "2020-01-01", "expires_at_1": "00:00"},
        {"expires_at_0": "9" * 4400, "expires_at_1": "²"},
    ],
)
def test_an_invalid_form_creates_no_token(browser_of_vera: Client, more: dict[str, str]) -> None:
    answer = create_in_admin(browser_of_vera, boris(), **more)

    assert answer.status_code == 200 and answer.context["errors"]
    assert not ApiToken.objects.exists()


def test_an_admin_cannot_create_a_superusers_token(browser_of_vera: Client) -> None:
    root = UserFactory(username="root", is_staff=True, is_superuser=True)
    roots, _text = ApiToken.issue(root, name="backup")

    create_in_admin(browser_of_vera, root)
    refused = browser_of_vera.post(reverse("admin:accounts_apitoken_revoke", args=[roots.pk]))
    chosen = {"action": "revoke_selected", "_selected_action": [roots.pk]}
    browser_of_vera.post(reverse("admin:accounts_apitoken_changelist"), chosen)

    assert refused.status_code == 403
    assert list(ApiToken.objects.active(timezone.now())) == [roots]


def test_a_user_who_is_no_admin_sees_no_tokens() -> None:
    token, _text = ApiToken.issue(vera(), name="CRM")
    client = Client()
    client.force_login(boris())

    for name, args in (("changelist", []), ("add", []), ("change", [token.pk]), ("revoke", [token.pk])):
        assert client.post(reverse(f"admin:accounts_apitoken_{name}", args=args)).status_code in (302, 403)
    assert ApiToken.objects.active(timezone.now()).get() == token


def test_the_start_page_and_a_filter_show_tokens_that_expire_soon(browser_of_vera: Client) -> None:
    ApiToken.issue(boris(), name="Backup", expires_at=timezone.now() + timedelta(days=60))
    start = reverse("admin:index")
    assert "expire soon" not in browser_of_vera.get(start).content.decode()
    ApiToken.issue(boris(), name="Nightly", expires_at=timezone.now() + timedelta(days=3))
    assert "“Nightly”" in browser_of_vera.get(start).content.decode()
    listed = browser_of_vera.get(reverse("admin:accounts_apitoken_changelist") + "?expiring=soon").content.decode()
    assert "Nightly" in listed and "Backup" not in listed


def test_a_token_is_revoked_by_its_text_or_with_all_of_its_user(client: Client) -> None:
    vera(), boris()
    first, second, third = (run("create", name) for name in ("boris", "boris", "vera"))
    run("revoke", first)
    assert [call(client, text).status_code for text in (first, second, third)] == [401, 200, 200]
    assert run("revoke", "--user", "boris", "--all").endswith("1.")
    assert [call(client, text).status_code for text in (second, third)] == [401, 200]
    for words in (("--user", "vera"), ("--all",), (), (third, "--user", "vera"), (third, "--all")):
        with pytest.raises(CommandError):
            run("revoke", *words)
    assert call(client, third).status_code == 200


def test_a_user_named_like_a_number_does_not_hide_a_token(client: Client) -> None:
    token, text = ApiToken.issue(vera(), name="x")
    other = UserFactory(username=str(token.pk))
    ApiToken.issue(other, name="y")
    run("revoke", str(token.pk))
    assert call(client, text).status_code == 401
    assert ApiToken.objects.active(timezone.now()).get().user == other


@pytest.mark.parametrize("person", ["operator", "with channels"])
def test_a_metrics_token_without_the_right_is_refused_with_a_reason(browser_of_vera: Client, person: str) -> None:
    user = boris() if person == "operator" else vera()
    more = {} if person == "operator" else {"chat_channels": ApiChannelFactory().watched.get().pk}
    answer = create_in_admin(browser_of_vera, user, scope="metrics", **more)
    assert answer.status_code == 200 and not ApiToken.objects.exists()
    words = ("create", user.username, "--scope", "metrics")
    with pytest.raises(CommandError, match=r"\.$"):
        run(*words, *(("--chat-channel", str(more["chat_channels"])) if more else ()))


def test_the_page_that_shows_a_token_says_what_it_opens(browser_of_vera: Client) -> None:
    channel = ApiChannelFactory().watched.get()
    limited = create_in_admin(browser_of_vera, boris(), scope="read", chat_channels=channel.pk).content.decode()
    assert channel.name in limited and "may read the chats" in limited
    metrics = create_in_admin(browser_of_vera, vera(), scope="metrics").content.decode()
    assert "opens /metrics and nothing else" in metrics
    token = ApiToken.objects.get(scope="read")
    page = browser_of_vera.get(reverse("admin:accounts_apitoken_change", args=[token.pk])).content.decode()
    assert channel.name in page and "permissions of the user" not in page
