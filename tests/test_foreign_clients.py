"""A client of another channel is unknown: by search, IDs in bodies, presence, reminders, merges, exports and links."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.utils import timezone

from bridge.conversations import closing_reminders, tickets
from bridge.files import attachment_files
from bridge.merging.merge import merge_contacts
from bridge.models import Contact, ContactChange, ContactNote, Conversation, IdempotencyKey, ServiceWindow, Ticket
from channels_setup.models import ChatChannel, Team
from channels_setup.roles import Role, assign_role
from config.accounts.models import ApiToken
from tests.channel_worlds import CANARIES, PHONE, TEXT, WORD, Snapshot, World, make_world
from tests.factories import ContactFactory, ConversationFactory, MessageFactory, UserFactory, token_of
from tests.pages import SCRIPT, signed_in

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("in_english")]

PEOPLE = ["foreign", "neighbor", "team member", "supervisor"]
CALLERS = [*PEOPLE, "limited token"]
FORMATTED_PHONE = "8 (900) 5550177"  # as people type it: the page repeats the query
JSON = {"content_type": "application/json"}


@dataclass
class Caller:
    """Somebody without access to channel A, with a world of their own."""

    client: Client
    user: Any
    own: World
    headers: dict[str, str] = field(default_factory=dict)

    def get(self, path: str, data: Any = None, **headers: str) -> Any:
        return self.client.get(path, data, headers=self.headers | headers)

    def post(self, path: str, data: Any = None, **headers: str) -> Any:
        return self.client.post(path, data, headers=self.headers | headers)

    def call(self, method: str, path: str, body: Any, **headers: str) -> Any:
        return getattr(self.client, method)(path, json.dumps(body), headers=self.headers | headers, **JSON)


@pytest.fixture
def own() -> World:
    """The caller's channel."""
    return make_world("b")


@pytest.fixture
def a(request: pytest.FixtureRequest, own: World) -> World:
    """Channel A, whose every text contains the canary. The neighbor and the limited token share its API channel."""
    spec = getattr(request.node, "callspec", None)
    if spec is not None and spec.params.get("caller") in ("neighbor", "limited token"):
        return make_world("a", text=TEXT, phone=PHONE, api_channel=own.api_channel, shared_text="shared")
    return make_world("a", text=TEXT, phone=PHONE)


@pytest.fixture
def caller(request: pytest.FixtureRequest, a: World, own: World) -> Caller:
    """A role without access to A."""
    role, user = request.param, own.operator
    if role == "limited token":  # its user sees A, the program does not
        a.chat_channel.operators.add(user)
        _token, text = ApiToken.issue(user, name="CRM", chat_channels=[own.chat_channel])
        return Caller(client=Client(HTTP_ACCEPT_LANGUAGE="en"), user=user, own=own, headers=bearer(text))
    if role == "supervisor":
        assign_role(user, role=Role.SUPERVISOR, chat_channels=[own.chat_channel])
    if role == "team member":
        team = Team.objects.create(name="Both")
        team.chat_channels.add(a.chat_channel, own.chat_channel)
        team.members.add(user, a.operator)
        tickets.assign_chat(a["conversation"].pk, user_id=None, team_id=team.pk)
    return Caller(client=signed_in(Client(), user), user=user, own=own)


def bearer(text: str) -> dict[str, str]:
    return {"authorization": f"Token {text}"}


def text_of(response: Any) -> str:
    content = b"".join(response.streaming_content) if response.streaming else response.content
    return content.decode() + str(dict(response.headers))


def leaks(response: Any) -> list[str]:
    text = text_of(response)
    return [canary for canary in CANARIES if canary in text]


# --- search and lists ------------------------------------------------------------------------------------


@pytest.mark.parametrize("caller", PEOPLE, indirect=True)
def test_the_desk_finds_no_client_of_another_channel(caller: Caller, a: World, request: pytest.FixtureRequest) -> None:
    own, chat = caller.own["conversation"].pk, a["conversation"]
    asked = [
        *(f"/chats/?q={query}" for query in (WORD, FORMATTED_PHONE, "bilby")),
        *(
            f"/chats/?{query}"
            for query in ("team=mine", "tab=waiting", f"channel={chat.chat_channel_id}", "sort=newest")
        ),
        *(f"/requests/?{query}" for query in ("", "team=mine", f"assignee={a.operator.pk}", "sort=window")),
        f"/requests/?channel={chat.chat_channel_id}",
        "/windows/?days=90",
        f"/windows/missed.csv?channel={chat.chat_channel_id}",
        f"/chats/{own}/?at={a['message'].pk}",
        f"/chats/{own}/?at=r{a['ticket'].pk}&replies_to={a['message'].pk}",
        f"/chats/{own}/canned-responses/?find={WORD}&take={a['cannedresponse'].pk}",
    ]
    ServiceWindow.objects.filter(conversation=chat).update(
        state="closed", missed=True, expires_at=timezone.now() - timedelta(hours=1)
    )

    for path in asked:
        response = caller.get(path)
        is_report = path.startswith("/windows/missed.csv") and request.node.callspec.params["caller"] != "supervisor"
        assert response.status_code == (403 if is_report else 200), path
        assert not leaks(response), path


@pytest.mark.parametrize("caller", CALLERS, indirect=True)
def test_the_api_finds_no_client_of_another_channel(caller: Caller, a: World) -> None:
    headers = caller.headers or token_of(caller.user)
    contact, chat = a["contact"], a["conversation"]
    filters = {
        "contacts": [
            {"phone": PHONE},
            {"search": WORD},
            {"email": contact.email},
            {"external_id": contact.external_id},
        ],
        "conversations": [{"phone": PHONE}, {"chat_id": chat.pk}, {"chat_channel": chat.chat_channel_id}],
        "messages": [{"chat_id": chat.pk}, {"ticket_id": a["ticket"].pk}, {"external_id": a["message"].external_id}],
        "deliveries": [{"chat_id": chat.pk}, {"message_id": a["delivery"].message_id}, {"key": a["delivery"].key}],
        "held-replies": [{"chat_id": chat.pk}],
        "channels": [{"chat_channel": chat.chat_channel_id}],
    }

    for name, queries in filters.items():
        for query in queries:
            response = caller.client.get(f"/api/v1/{name}", query | {"count": 1}, headers=headers)
            body = response.json()
            assert (response.status_code, body["results"], body["count"]) == (200, [], 0), (name, query)
    for name, pk in (("contacts", contact.pk), ("conversations", chat.pk), ("teams", a["team"].pk)):
        missing = caller.client.get(f"/api/v1/{name}/{10**9}", headers=headers)
        foreign = caller.client.get(f"/api/v1/{name}/{pk}", headers=headers)
        assert foreign.status_code == missing.status_code == 404 and foreign.json() == missing.json()


def test_a_team_shows_only_the_channels_that_one_sees(a: World, own: World) -> None:
    own["team"].chat_channels.add(a.chat_channel)

    rows = Client().get("/api/v1/teams", headers=token_of(own.operator)).json()["results"]

    assert rows == [{"id": own["team"].pk, "name": own["team"].name, "chat_channels": [own.chat_channel.pk]}]


# --- IDs in bodies and queries ---------------------------------------------------------------------------


@pytest.mark.parametrize("caller", CALLERS, indirect=True)
def test_no_answer_tells_whether_a_foreign_user_or_team_exists(caller: Caller, a: World) -> None:
    chat, headers = caller.own["conversation"].pk, caller.headers or token_of(caller.user)
    stranger = UserFactory(username="elsewhere")
    assign_role(stranger, role=Role.OPERATOR, chat_channels=[a.chat_channel])

    for name, foreign in (("user_id", stranger.pk), ("team_id", a["team"].pk)):
        answers = [
            caller.client.post(f"/api/v1/conversations/{chat}/assign", json.dumps({name: pk}), headers=headers, **JSON)
            for pk in (foreign, 10**9)
        ]
        assert [answer.status_code for answer in answers] == [400, 400]
        assert answers[0].json() == answers[1].json()
    if not caller.headers:
        for name, foreign in (("user", stranger.pk), ("team", a["team"].pk)):
            posted = [
                caller.post(
                    f"/chats/{chat}/assign/", {"for_chat": chat, "for_user": caller.user.pk, name: pk}, **SCRIPT
                )
                for pk in (foreign, 10**9)
            ]
            assert [answer.status_code for answer in posted] == [422, 422]
            assert posted[0].json() == posted[1].json()


@pytest.mark.parametrize("method", ["ticket", "tickets", "chat/changeAssignee", "update/ticket"])
def test_a_program_learns_no_operator_of_another_api_channel(a: World, own: World, method: str) -> None:
    ticket, chat = own["ticket"].pk, own["conversation"].pk
    named = {"ticket": "accessible_for_agent_id", "tickets": "accessible_for_agent_id", "update/ticket": "assignee_id"}

    def answer(pk: int) -> str:
        body = {"api_token": own.secrets["api_key"], "ticket_id": ticket, "chat_id": chat}
        body |= {named.get(method, "user_id"): pk}
        response = Client(HTTP_ACCEPT_LANGUAGE="en").post(f"/uapi/{method}", json.dumps(body), **JSON)
        return response.content.decode().replace(str(pk), "N")

    foreign, missing = answer(a.operator.pk), answer(10**9)

    assert foreign == missing
    assert "does not exist or does not have access" in foreign


@pytest.mark.parametrize("caller", PEOPLE, indirect=True)
def test_bulk_changes_and_their_undo_skip_requests_of_another_channel(caller: Caller, a: World) -> None:
    ticket = a["ticket"]
    done = caller.post("/requests/change/", {"status": "3", "ticket": [caller.own["ticket"].pk]})
    token = caller.get(done["Location"]).content.decode().split('name="undo_token" value="')[1].split('"')[0]
    caller.own["conversation"].chat_channel.operators.remove(caller.user)
    before = Snapshot().before[Ticket]

    caller.post("/requests/undo/", {"undo_token": token})
    caller.post("/requests/change/", {"status": "3", "ticket": [ticket.pk]})
    caller.post("/requests/change/", {"assign": "", "assignee": caller.user.pk, "ticket": [ticket.pk]})

    assert Snapshot().before[Ticket] == before


@pytest.mark.parametrize("caller", CALLERS, indirect=True)
def test_the_idempotency_key_of_another_user_returns_nothing(caller: Caller, a: World) -> None:
    path = f"/api/v1/contacts/{a['contact'].pk}/notes"
    key = {"Idempotency-Key": "one"}
    stored = Client().post(path, json.dumps({"text": TEXT}), headers=token_of(a.operator) | key, **JSON)
    assert stored.status_code == 201 and IdempotencyKey.objects.exists()

    again = caller.client.post(
        path, json.dumps({"text": TEXT}), headers=(caller.headers or token_of(caller.user)) | key, **JSON
    )

    assert again.status_code == 404 and not leaks(again)


# --- live updates ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("caller", PEOPLE, indirect=True)
def test_presence_in_a_foreign_chat_is_neither_shown_nor_recorded(caller: Caller, a: World) -> None:
    owner = signed_in(Client(), a.operator)
    chat = a["conversation"].pk
    first = owner.get(f"/chats/updates/?chat={chat}&writes=").json()
    own = caller.get("/chats/updates/").json()

    for token in ({}, {"Okno-Poll-Token": own["poll_token"]}, {"Okno-Poll-Token": first["poll_token"]}):
        response = caller.get(f"/chats/updates/?chat={chat}&list={own['list']['version']}", **token)
        assert response.status_code == 404 and not leaks(response)
    again = owner.get(f"/chats/updates/?chat={chat}&thread={first['thread']['version']}").json()
    assert "others" not in again  # the caller's attempts left no mark


@pytest.mark.parametrize("caller", PEOPLE, indirect=True)
def test_no_reminder_names_a_foreign_client(caller: Caller, a: World) -> None:
    Conversation.objects.filter(pk=a["conversation"].pk).update(last_direction="inbound")
    assert closing_reminders.send_reminders() >= 1

    response = caller.get("/chats/updates/?last_warning=0")

    assert response.status_code == 200 and not leaks(response)


WAYS = ["operator removed", "operator removed by SQL", "chat moved", "user deactivated"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("is_idle", [True, False])
def test_an_open_tab_gets_nothing_after_access_is_lost(a: World, own: World, way: str, is_idle: bool) -> None:
    desk, chat = signed_in(Client(), a.operator), a["conversation"]
    desk.post(f"/chats/{chat.pk}/seen/", {"for_chat": chat.pk, "for_user": a.operator.pk})
    first = desk.get(f"/chats/updates/?chat={chat.pk}").json()
    thread = first["thread"]["version"] if is_idle else "old"
    path = f"/chats/updates/?chat={chat.pk}&list={first['list']['version']}&thread={thread}"
    headers = {"Okno-Poll-Token": first["poll_token"]}
    assert desk.get(path, headers=headers).status_code == (204 if is_idle else 200)

    if way == "operator removed":
        a.chat_channel.operators.remove(a.operator)
    elif way == "operator removed by SQL":
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM channels_setup_chatchannel_operators")
    elif way == "chat moved":
        Conversation.objects.filter(pk=chat.pk).update(chat_channel=own.chat_channel)
    else:
        type(a.operator).objects.filter(pk=a.operator.pk).update(is_active=False)

    response = desk.get(path, headers=headers)
    assert response.status_code == (302 if way == "user deactivated" else 404)
    assert not leaks(response)
    for page in (f"/chats/{chat.pk}/", f"/files/{a['attachment'].pk}/"):
        assert desk.get(page).status_code in (302, 404)


# --- files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("caller", PEOPLE, indirect=True)
def test_a_file_of_a_foreign_chat_needs_its_signed_link(caller: Caller, a: World) -> None:
    """A signed link carries its own right, because providers and helpdesks fetch it without a sign-in."""
    file = a["attachment"].pk

    assert caller.get(f"/files/{file}/").status_code == 404
    assert caller.get(f"/files/shared/{file}:made-up/").status_code == 404
    assert caller.get(f"/files/shared/{caller.own.secrets['file']}x/").status_code == 404
    assert caller.get(attachment_files.build_signed_link(a["attachment"])).status_code == 200
    uploads = f"/chats/{caller.own['conversation'].pk}/files/{a['upload'].pk}/delete/"
    form = {"for_chat": caller.own["conversation"].pk, "for_user": caller.user.pk}
    caller.post(uploads, form)
    assert type(a["upload"]).objects.filter(pk=a["upload"].pk).exists()


# --- merged clients --------------------------------------------------------------------------------------


@dataclass
class Merged:
    """Client Mira, whom the caller sees, and her second number, which wrote in channel A only."""

    mira: Contact
    chat: Conversation
    hidden: Contact
    note: ContactNote


@pytest.fixture
def merged(caller: Caller, a: World) -> Iterator[Merged]:
    own = caller.own
    mira = ContactFactory(api_channel=own.api_channel, name="Mira", external_id="79215550100", phone="+79215550100")
    chat = ConversationFactory(api_channel=own.api_channel, contact=mira, chat_channel=own.chat_channel)
    MessageFactory(conversation=chat, text="hello")
    hidden = ContactFactory(
        api_channel=own.api_channel, name="Bilbycanary", external_id="79005550188", phone="+79005550188"
    )
    place = ConversationFactory(api_channel=own.api_channel, contact=hidden, chat_channel=a.chat_channel)
    MessageFactory(conversation=place, text=TEXT)
    note = ContactNote.objects.create(contact=hidden, author=a.operator, text=f"note {TEXT}")
    ContactChange.objects.create(contact=hidden, field="name", old="Bilbycanary", new="Bilbycanary", source="operator")
    merge_contacts(hidden.pk, mira.pk, by=a.operator)
    mira.refresh_from_db()
    yield Merged(mira=mira, chat=chat, hidden=hidden, note=note)


SECRETS = ("Bilbycanary", "bilbycanary", "9005550188", "900 555-01-88")


@pytest.mark.parametrize("caller", ["neighbor", "foreign"], indirect=True)
def test_the_desk_hides_the_number_of_a_merged_client_from_another_channel(
    caller: Caller, a: World, merged: Merged
) -> None:
    chat = merged.chat.pk
    seen = [caller.get(f"/chats/{chat}/"), caller.get(f"/chats/updates/?chat={chat}")]
    seen += [caller.get("/chats/", {"q": query}) for query in ("8 (900) 5550188", "Bilbycan")]
    template = f"/templates/{caller.own['template'].pk}/send/"
    seen += [caller.post(template, {"find": query}) for query in ("8 (900) 5550188", "Bilbycan")]
    seen += [caller.get(f"/chats/{chat}/client/notes/{merged.note.pk}/edit/")]

    for response in seen:
        assert not [secret for secret in SECRETS if secret in text_of(response)], response.request
    for response in seen[2:6]:
        assert "Mira" not in text_of(response)  # a hit would confirm the number
    assert "Mira" in caller.post(template, {"find": "79215550100"}).content.decode()
    assert "Mira" in caller.get("/chats/", {"q": "79215550100"}).content.decode()
    owner = signed_in(Client(), a.operator)
    both = Conversation.objects.get(contact=merged.mira, chat_channel=a.chat_channel)
    assert "Bilbycanary" in owner.get(f"/chats/{both.pk}/").content.decode()
    assert "Mira" in owner.get("/chats/", {"q": "79005550188"}).content.decode()


@pytest.mark.parametrize("caller", ["neighbor", "foreign", "limited token"], indirect=True)
def test_the_api_hides_the_number_of_a_merged_client_from_another_channel(
    caller: Caller, a: World, merged: Merged
) -> None:
    headers, mira = caller.headers or token_of(caller.user), merged.mira.pk

    def get(path: str, **query: Any) -> Any:
        return caller.client.get(f"/api/v1/contacts{path}", query, headers=headers)

    card = get(f"/{mira}").json()
    assert card["merged"] == [] and card["chats"] == [merged.chat.pk]
    assert get(f"/{merged.hidden.pk}").status_code == 404
    assert get("", phone="+79005550188").json()["results"] == []
    assert get("", search="Bilbycanary").json()["results"] == []
    assert [row["id"] for row in get("", phone="+79215550100").json()["results"]] == [mira]
    assert get(f"/{mira}/notes").json() == [] and "ilbycanary" not in get(f"/{mira}/changes").content.decode()
    edited = caller.client.patch(
        f"/api/v1/contacts/{mira}/notes/{merged.note.pk}", json.dumps({"text": "x"}), headers=headers, **JSON
    )
    assert edited.status_code == 404
    known = Client().get(f"/api/v1/contacts/{mira}", headers=token_of(a.operator)).json()
    assert [one["id"] for one in known["merged"]] == [merged.hidden.pk]


@pytest.mark.parametrize("caller", PEOPLE, indirect=True)
def test_a_client_of_another_channel_is_no_candidate_for_a_merge(caller: Caller, a: World) -> None:
    caller.user.user_permissions.add(Permission.objects.get(codename="merge_contact"))
    Contact.objects.filter(pk=caller.own["contact"].pk).update(email=a["contact"].email)  # a possible duplicate
    path = f"/chats/{caller.own['conversation'].pk}/client/merge/"

    for query in ({}, {"q": WORD}, {"q": FORMATTED_PHONE}, {"with": a["contact"].pk}):
        text = text_of(caller.get(path, query)).replace(a["contact"].email, "")
        assert not [canary for canary in CANARIES if canary in text], query
    missing, foreign = (caller.get(path, {"with": pk}) for pk in (10**9, a["contact"].pk))
    assert missing.status_code == foreign.status_code == 404


def test_channels_of_the_world_differ(a: World) -> None:
    """Guard of this file: the operator of A sees the canaries that the others must not."""
    desk = signed_in(Client(), a.operator)

    assert leaks(desk.get(f"/chats/{a['conversation'].pk}/")) and leaks(desk.get(f"/chats/?q={WORD}"))
    assert ChatChannel.objects.visible_to(a.operator).get() == a.chat_channel
