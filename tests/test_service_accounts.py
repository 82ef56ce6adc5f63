"""Service accounts: users of programs with tokens and chat channels, and without any way to sign in."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from django.contrib.auth import authenticate, get_user_model
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.test import Client, RequestFactory
from django.urls import reverse

from bridge.conversations import assignments
from bridge.models import Conversation, Message
from channels_setup.models import ApiChannel, Team
from config.accounts import one_time_links
from config.accounts.models import ApiToken, Scope, ServiceAccount
from tests.factories import (
    PASSWORD,
    ApiChannelFactory,
    ConversationFactory,
    ServiceWindowFactory,
    TicketFactory,
    boris,
    vera,
)

pytestmark = pytest.mark.django_db
REMOTE = {"REMOTE_ADDR": "203.0.113.9"}  # /metrics asks programs on this machine for no token


@pytest.fixture
def chats() -> list[Conversation]:
    """Return a chat of the service account's channel, and a chat of another one."""
    return [ConversationFactory(api_channel=channel) for channel in ApiChannelFactory.create_batch(2, secret=True)]


@pytest.fixture
def crm(chats: list[Conversation]) -> ServiceAccount:
    return ServiceAccount.create("crm", display_name="Shop CRM", chat_channels=[chats[0].chat_channel])


def caller(account: Any, **options: Any) -> Client:
    _token, text = ApiToken.issue(account, name="x", **options)
    return Client(headers={"authorization": f"Token {text}", "accept-language": "en"}, **REMOTE)


def post(client: Client, path: str, body: dict[str, Any]) -> Any:
    return client.post(path, json.dumps(body), "application/json")


def run(*words: str) -> str:
    out = StringIO()
    call_command("service", *words, stdout=out)
    return out.getvalue().strip()


# --- what a service account may do -------------------------------------------------------------------------


def test_its_tokens_see_the_chats_of_its_channels_only(crm: ServiceAccount, chats: list[Conversation]) -> None:
    client = caller(crm)

    assert [row["id"] for row in client.get("/api/v1/conversations/").json()["results"]] == [chats[0].pk]
    assert client.get(f"/api/v1/conversations/{chats[1].pk}/").status_code == 404
    assert client.get("/api/v1/webhook-events/").status_code == 403
    assert [row["id"] for row in client.get("/api/v1/chat-channels/").json()["results"]] == [chats[0].chat_channel_id]
    assert caller(crm, chat_channels=[chats[1].chat_channel]).get("/api/v1/conversations/").json()["results"] == []
    assert caller(ServiceAccount.create("bot")).get("/api/v1/conversations/").json()["results"] == []


def test_a_message_of_a_program_shows_its_name(crm: ServiceAccount, chats: list[Conversation]) -> None:
    chat = ConversationFactory(api_channel=chats[0].api_channel, chat_channel=chats[0].chat_channel)
    ServiceWindowFactory(conversation=chat)
    sent = post(caller(crm), f"/api/v1/conversations/{chat.pk}/messages/", {"text": "Your order is ready."})
    assert sent.status_code == 201, sent.json()

    assert Message.objects.get(pk=sent.json()["id"]).author_id == crm.pk
    browser = Client()
    browser.force_login(vera())
    assert "Shop CRM" in browser.get(reverse("chat", args=[chat.pk])).content.decode()


def test_a_metrics_token_needs_no_chat_channels() -> None:
    prometheus = ServiceAccount.create("prometheus")
    assert caller(prometheus, scope=Scope.METRICS).get("/metrics").status_code == 200
    assert caller(prometheus, scope=Scope.METRICS).get("/api/v1/conversations/").status_code == 403
    assert [caller(prometheus, scope=scope).get("/metrics").status_code for scope in ("read", "write")] == [403, 403]


# --- what it is not ----------------------------------------------------------------------------------------


def test_a_service_account_is_in_no_list_of_people(crm: ServiceAccount, chats: list[Conversation]) -> None:
    TicketFactory(conversation=chats[0])
    browser = Client()
    browser.force_login(vera())
    pages = [
        reverse("chat", args=[chats[0].pk]),
        reverse("requests"),
        reverse("admin:accounts_user_changelist"),
        reverse("admin:channels_setup_chatchannel_change", args=[chats[0].chat_channel_id]),
    ]
    for page in pages:
        assert "Shop CRM" not in browser.get(page).content.decode(), page
    assert browser.get(reverse("admin:accounts_user_change", args=[crm.pk])).status_code == 302
    key = chats[0].api_channel.current_secret().reveal()
    assert "Shop CRM" not in Client().get("/uapi/users", {"api_token": key}).content.decode()
    out = StringIO()
    call_command("user", "export", stdout=out)
    assert "crm" not in out.getvalue()


def test_a_service_account_is_never_an_assignee(crm: ServiceAccount, chats: list[Conversation]) -> None:
    chat = chats[0]
    path = f"/api/v1/conversations/{chat.pk}/assign/"
    assert post(caller(crm), path, {"user_id": crm.pk}).status_code == 400
    assert post(caller(vera()), path, {"user_id": crm.pk}).status_code == 400
    key = chat.api_channel.current_secret().reveal()
    body = {"api_token": key, "chat_id": chat.pk, "user_id": crm.pk, "text": "x"}
    for method in ("changeAssignee", "sendMessage"):
        assert "error" in Client().post(f"/uapi/chat/{method}", body).json()
    chat.refresh_from_db()
    assert chat.assignee is None

    Conversation.objects.filter(pk=chat.pk).update(assignee=crm)  # by SQL: released by the next run
    assert assignments.release_lost_assignments() == 1
    chat.refresh_from_db()
    assert chat.assignee is None


ROWS = {
    "role": lambda user: user.groups.add(Group.objects.get(name="Operator")),
    "email": lambda user: EmailAddress.objects.create(user=user, email="crm@example.org"),
    "second factor": lambda user: Authenticator.objects.create(user=user, type="webauthn", data={}),
    "single sign-on": lambda user: SocialAccount.objects.create(user=user, provider="oidc", uid="1"),
    "operator": lambda user: ApiChannelFactory().watched.get().operators.add(user),
    "team": lambda user: Team.objects.create(name="Night shift").members.add(user),
    "password": lambda user: get_user_model().objects.filter(pk=user.pk).update(password=make_password(PASSWORD)),
    "address": lambda user: get_user_model().objects.filter(pk=user.pk).update(email="crm@example.org"),
    "staff": lambda user: get_user_model().objects.filter(pk=user.pk).update(is_staff=True),
    "superuser": lambda user: get_user_model().objects.filter(pk=user.pk).update(is_superuser=True),
    "kind": lambda user: get_user_model().objects.filter(pk=user.pk).update(kind="person"),
}


@pytest.mark.parametrize("what", ROWS)
def test_the_database_refuses_to_make_a_person_of_it(crm: ServiceAccount, what: str) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        ROWS[what](crm)


def test_nothing_signs_a_service_account_in(crm: ServiceAccount, chats: list[Conversation]) -> None:
    client = Client()
    for password in (crm.password, PASSWORD):
        assert authenticate(RequestFactory().post("/login/"), username="crm", password=password) is None
        assert client.post(reverse("login"), {"username": "crm", "password": password}).status_code == 200
    with pytest.raises(ValueError, match="no password"):
        one_time_links.password_link(crm)
    for action in ("link", "sign-out", "remove-second-factors"):
        with pytest.raises(CommandError, match="no user"):
            call_command("user", action, "crm")
    with pytest.raises(CommandError, match="no user"):
        call_command("user", "role", "crm", "operator")
    client.force_login(crm)  # a session made in whatever way
    assert client.get(reverse("chats")).status_code == 302
    assert client.get(f"/api/v1/conversations/{chats[0].pk}/").status_code in (401, 403)


# --- command line ------------------------------------------------------------------------------------------


def test_commands_add_list_and_disable_service_accounts(chats: list[Conversation]) -> None:
    channel = chats[0].chat_channel
    run("add", "crm", "--display-name", "Shop CRM", "--chat-channel", str(channel.pk))
    out = StringIO()
    call_command("token", "create", "crm", "--name", "CRM", stdout=out)
    client = Client(headers={"authorization": f"Token {out.getvalue().strip()}"})
    assert [row["id"] for row in client.get("/api/v1/conversations/").json()["results"]] == [chats[0].pk]

    (row,) = json.loads(run("list", "--output", "json"))
    assert (row["name"], row["display_name"], row["state"], row["tokens"]) == ("crm", "Shop CRM", "active", 1)
    assert row["chat_channels"] == [channel.name]
    assert "crm" in run("list") and "Shop CRM" in run("list")

    run("disable", "crm")
    assert client.get("/api/v1/conversations/").status_code == 401
    assert json.loads(run("list", "--output", "json"))[0]["state"] == "disabled"
    run("enable", "crm")
    assert client.get("/api/v1/conversations/").status_code == 401  # its tokens stay revoked


@pytest.mark.parametrize(
    "words",
    [
        ("add", ""),
        ("add", "two words"),
        ("add", "boris"),
        ("add", "x" * 151),
        ("add", "crm", "--chat-channel", "nowhere"),
        ("add", "crm", "--display-name", "x" * 101),
        ("disable", "nobody"),
        ("disable", "boris"),
        ("enable", "boris"),
    ],
)
def test_an_invalid_command_is_explained_and_saves_nothing(words: tuple[str, ...]) -> None:
    boris()
    with pytest.raises(CommandError, match=r"[.!]$|channel add$|service list$"):
        run(*words)
    assert not ServiceAccount.objects.exists() and boris().is_active


# --- the admin ---------------------------------------------------------------------------------------------


def test_the_admin_creates_and_disables_a_service_account(chats: list[Conversation]) -> None:
    browser = Client(headers={"accept-language": "en"})
    browser.force_login(vera())
    form = {"username": "crm", "display_name": "Shop CRM", "service_chat_channels": [chats[0].chat_channel_id]}
    assert browser.post(reverse("admin:accounts_serviceaccount_add"), form).status_code == 302
    account = ServiceAccount.objects.get()
    assert account.is_service and not account.has_usable_password()
    assert list(account.service_chat_channels.all()) == [chats[0].chat_channel]

    shown = browser.post(
        reverse("admin:accounts_apitoken_add"), {"user": account.pk, "name": "sync", "scope": "read"}
    ).context["value"]
    client = Client(headers={"authorization": f"Token {shown}"})
    assert client.get("/api/v1/conversations/").status_code == 200
    page = browser.get(reverse("admin:accounts_serviceaccount_change", args=[account.pk])).content.decode()
    assert "sync" in page and shown not in page

    browser.post(reverse("admin:accounts_serviceaccount_change", args=[account.pk]), form)  # “active” is not ticked
    assert client.get("/api/v1/conversations/").status_code == 401
    assert browser.get(reverse("admin:accounts_serviceaccount_changelist")).status_code == 200


@pytest.mark.parametrize(
    "form", [{"username": ""}, {"username": "boris"}, {"username": "a b"}, {"service_chat_channels": "x"}]
)
def test_an_invalid_form_creates_no_service_account(form: dict[str, str]) -> None:
    boris()
    browser = Client()
    browser.force_login(vera())
    answer = browser.post(reverse("admin:accounts_serviceaccount_add"), {"username": "crm", "display_name": "", **form})
    assert answer.status_code == 200 and not ServiceAccount.objects.exists()


def test_a_deleted_chat_channel_leaves_the_service_account(crm: ServiceAccount, chats: list[Conversation]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM accounts_user_service_chat_channels")
    client = caller(crm)
    assert client.get("/api/v1/conversations/").json()["results"] == []
    assert client.get("/api/v1/chat-channels/").json()["results"] == []
    assert ApiChannel.objects.exists() and client.get("/api/v1/channels/").json()["results"] == []
