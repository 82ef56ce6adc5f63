"""Teams: whose chats they are, who is reminded, filters, reports and the admin page."""

import csv
import io
import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.test import Client

from bridge.conversations import closing_reminders, team_releases, tickets
from bridge.maintenance import housekeeping
from bridge.models import ClosingReminder, Conversation, Delivery, ServiceWindow, Ticket
from bridge.relay import reply_submission
from channels_setup.models import ApiChannel, ChatChannel, Team
from channels_setup.roles import Role, assign_role
from tests.factories import ApiChannelFactory, UserFactory, boris, token_of, vera
from tests.pages import SCRIPT, page_html, signed_in
from tests.scenarios.sending import client_writes

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("in_english")]


@pytest.fixture
def shop(channel: ApiChannel) -> ChatChannel:
    assert channel.default_chat_channel
    return channel.default_chat_channel


@pytest.fixture
def desk(shop: ChatChannel, client: Client) -> Client:
    """The test client of Boris, here a supervisor of the shop, who assigns the chats of everybody."""
    person = boris(shop)
    assign_role(person, role=Role.SUPERVISOR)
    return signed_in(client, person)


@pytest.fixture
def lena(shop: ChatChannel) -> Any:
    person = UserFactory(username="lena")
    assign_role(person, role=Role.OPERATOR, chat_channels=[shop])
    return person


@pytest.fixture
def sales(shop: ChatChannel, lena: Any) -> Team:
    """A team of the shop whose only member is Lena."""
    team = Team.objects.create(name="Sales")
    team.chat_channels.add(shop)
    team.members.add(lena)
    return team


def held_by(chat: Conversation) -> tuple[Any, ...]:
    """Return the assignee and the team of the chat, which its current request shares."""
    chat.refresh_from_db()
    ticket = tickets.get_current_ticket(chat)
    assert ticket is None or (ticket.assignee_id, ticket.team_id) == (chat.assignee_id, chat.team_id)
    return chat.assignee and chat.assignee.username, chat.team and chat.team.name


def assign(desk: Client, chat: Conversation, **value: Any) -> int:
    return desk.post(f"/chats/{chat.pk}/assign/", value, headers=SCRIPT).status_code


# --- assignment ------------------------------------------------------------------------------------------


def test_a_member_takes_a_chat_that_waits_for_the_team(
    desk: Client, channel: ApiChannel, sales: Team, lena: Any
) -> None:
    chat = client_writes(channel, "Анна")
    assign(desk, chat, user=boris().pk)

    assert assign(desk, chat, team=sales.pk) == 204
    assert held_by(chat) == (None, "Sales")
    html = page_html(desk, f"/chats/{chat.pk}/")
    assert re.search(rf'name="team" value="{sales.pk}" aria-current="true"', html)
    assert 'name="user" value="" >' in html  # not nobody's
    assert assign(signed_in(Client(), lena), chat, user=lena.pk) == 204
    assert held_by(chat) == ("lena", "Sales")
    assert assign(desk, chat, user="") == 204
    assert held_by(chat) == (None, None)


@pytest.mark.parametrize("team", ["of another channel", "missing", "no number"])
def test_a_chat_is_assigned_only_to_a_team_of_its_channel(desk: Client, channel: ApiChannel, team: str) -> None:
    elsewhere = Team.objects.create(name="Elsewhere")
    elsewhere.chat_channels.add(ApiChannelFactory().default_chat_channel)
    chat = client_writes(channel, "Анна")
    value = {"of another channel": elsewhere.pk, "missing": elsewhere.pk + 1, "no number": "x"}[team]

    answer = desk.post(f"/chats/{chat.pk}/assign/", {"team": value}, headers=SCRIPT)

    assert (answer.status_code, answer.json()["sentence"]) == (422, "This team does not serve this channel.")
    assert "Elsewhere" not in page_html(desk, f"/chats/{chat.pk}/") + page_html(desk, "/requests/")
    desk.post("/requests/change/", {"assign": "", "assignee": f"team-{value}", "ticket": [Ticket.objects.get().pk]})
    assert held_by(chat) == (None, None)


def test_the_next_request_of_the_chat_waits_for_the_same_team(channel: ApiChannel, sales: Team) -> None:
    chat = client_writes(channel, "Анна")
    tickets.assign_chat(chat.pk, user_id=None, team_id=sales.pk)
    first = Ticket.objects.get()

    tickets.set_ticket_status(first.pk, status=Ticket.Status.CLOSED)
    client_writes(channel, "Анна", "Снова")
    assert held_by(chat) == (None, "Sales")
    tickets.set_ticket_status(Ticket.objects.latest("pk").pk, status=Ticket.Status.CLOSED)
    reply_submission.submit_reply(conversation_id=chat.pk, text="Едет", author=vera())
    assert Ticket.objects.count() == 3
    assert held_by(chat) == (None, "Sales")


def test_assigning_to_the_group_takes_the_request_from_the_team(channel: ApiChannel, sales: Team) -> None:
    chat = client_writes(channel, "Анна")
    tickets.assign_chat(chat.pk, user_id=None, team_id=sales.pk)

    ticket = tickets.assign_ticket(Ticket.objects.get().pk, user_id=None, to_group=True)

    assert tickets.get_group_id(ticket) == chat.chat_channel_id
    assert held_by(chat) == (None, None)


def test_a_team_is_no_part_of_the_event_format(channel: ApiChannel, sales: Team) -> None:
    channel.track_change = True
    channel.save()
    chat = client_writes(channel, "Анна")
    before = Delivery.objects.filter(track="change").count()

    tickets.assign_chat(chat.pk, user_id=None, team_id=sales.pk)

    assert Delivery.objects.filter(track="change").count() == before


@pytest.mark.parametrize("way", ["deleted", "channel taken from the team", "member leaves"])
def test_a_chat_of_a_lost_team_waits_for_all_operators(
    way: str, channel: ApiChannel, shop: ChatChannel, sales: Team, lena: Any
) -> None:
    chat = client_writes(channel, "Анна", ago=timedelta(hours=23, minutes=50))
    tickets.assign_chat(chat.pk, user_id=None, team_id=sales.pk)
    closing_reminders.send_reminders()
    assert reminded(boris(), shop) == 0 and reminded(lena, shop) == 1

    if way == "deleted":
        sales.delete()
    elif way == "member leaves":
        sales.members.clear()
    else:
        sales.chat_channels.clear()
    assert team_releases.release_lost_teams() == (1 if way.startswith("channel") else 0)
    assert team_releases.release_lost_teams() == 0

    assert held_by(chat) == (None, "Sales" if way == "member leaves" else None)
    closing_reminders.send_reminders()
    assert reminded(boris(), shop) == 1


# --- reminders -------------------------------------------------------------------------------------------


def reminded(user: Any, shop: ChatChannel) -> int:
    return len(closing_reminders.find_pending_reminders(user, [shop.pk], after=0).reminders)


@pytest.mark.parametrize("state", ["waits for the team", "taken", "no member can answer"])
def test_a_closing_reminder_goes_to_the_members_of_the_team(
    state: str, channel: ApiChannel, shop: ChatChannel, sales: Team, lena: Any
) -> None:
    chat = client_writes(channel, "Анна", ago=timedelta(hours=23, minutes=50))
    other = boris(shop)
    tickets.assign_chat(chat.pk, user_id=other.pk if state == "taken" else None, team_id=sales.pk)
    if state == "no member can answer":
        ChatChannel.operators.through.objects.filter(user=lena).delete()

    assert closing_reminders.send_reminders() == 1

    assert ClosingReminder.objects.get().team == (sales if state == "waits for the team" else None)
    assert reminded(other, shop) == (0 if state == "waits for the team" else 1)
    if state != "no member can answer":
        assert reminded(lena, shop) == (1 if state == "waits for the team" else 0)


def test_the_reminder_of_a_team_does_not_disturb_the_idle_poll_of_others(
    desk: Client, channel: ApiChannel, sales: Team, lena: Any
) -> None:
    chat = client_writes(channel, "Анна", ago=timedelta(hours=23, minutes=50))
    tickets.assign_chat(chat.pk, user_id=None, team_id=sales.pk)
    closing_reminders.send_reminders()

    for person, expected in ((boris(), 204), (lena, 200)):
        client = signed_in(Client(), person)
        first = client.get("/chats/updates/").json()
        address = f"/chats/updates/?list={first['list']['version']}&last_warning=0"
        answer = client.get(address, headers={"Okno-Poll-Token": first["poll_token"]})
        assert answer.status_code == expected
        assert expected == 204 or len(answer.json()["warnings"]["items"]) == 1


# --- lists and reports -----------------------------------------------------------------------------------


def test_lists_are_filtered_by_team(desk: Client, channel: ApiChannel, sales: Team, lena: Any) -> None:
    taken, waits, free = (client_writes(channel, name) for name in ("Взятая", "Ждёт", "Ничья"))
    tickets.assign_chat(taken.pk, user_id=boris().pk, team_id=sales.pk)
    tickets.assign_chat(waits.pk, user_id=None, team_id=sales.pk)
    member = signed_in(Client(), lena)

    for page in ("/chats/", "/requests/"):
        assert {"Взятая", "Ждёт"} <= names_on(desk, f"{page}?team={sales.pk}")
        assert "Ничья" not in names_on(desk, f"{page}?team={sales.pk}&status=live")
        assert names_on(desk, f"{page}?team=mine") == set()
        assert names_on(member, f"{page}?team=mine") == {"Взятая", "Ждёт"}
        assert names_on(desk, f"{page}?team=x") == {"Взятая", "Ждёт", "Ничья"}
    assert names_on(member, "/chats/?team=mine&tab=unassigned") == {"Ждёт"}
    assert names_on(member, "/chats/?team=mine&q=Взятая") == {"Взятая"}
    assert names_on(desk, "/chats/?team=mine&tab=mine") == set()
    assert free.pk


def names_on(desk: Client, address: str) -> set[str]:
    html = page_html(desk, address)
    rows = html.split('id="rows"')[-1].split("</ul>")[0] if address.startswith("/chats") else html
    return {name for name in ("Взятая", "Ждёт", "Ничья") if f">{name}<" in rows}


def test_many_requests_are_assigned_to_a_team_and_restored(
    desk: Client, channel: ApiChannel, sales: Team, lena: Any
) -> None:
    chats = [client_writes(channel, f"К{number}") for number in range(3)]
    tickets.assign_chat(chats[0].pk, user_id=lena.pk)
    tickets.assign_chat(chats[1].pk, user_id=None, team_id=sales.pk)
    chosen = list(Ticket.objects.values_list("pk", flat=True))

    done = desk.post("/requests/change/", {"assign": "", "assignee": f"team-{sales.pk}", "ticket": chosen})
    html = desk.get(done["Location"]).content.decode()

    assert "2 requests changed. 1 unchanged." in html
    assert [held_by(chat) for chat in chats] == [(None, "Sales")] * 3
    token = re.search(r'name="undo_token" value="([^"]+)"', html)
    assert token
    desk.post("/requests/undo/", {"undo_token": token.group(1)})
    assert [held_by(chat) for chat in chats] == [("lena", None), (None, "Sales"), (None, None)]


@pytest.mark.parametrize("gone", ["team", "user"])
def test_an_undo_does_not_restore_a_deleted_team_or_user(
    gone: str, desk: Client, channel: ApiChannel, sales: Team, lena: Any
) -> None:
    chat = client_writes(channel, "К1")
    if gone == "team":
        tickets.assign_chat(chat.pk, user_id=None, team_id=sales.pk)
    else:
        tickets.assign_chat(chat.pk, user_id=lena.pk)
    chosen = Ticket.objects.get(conversation=chat).pk
    signed_in(desk, vera())
    done = desk.post("/requests/change/", {"assign": "", "assignee": "", "ticket": [chosen]})
    token = re.search(r'name="undo_token" value="([^"]+)"', desk.get(done["Location"]).content.decode())
    assert token
    (sales if gone == "team" else lena).delete()

    desk.post("/requests/undo/", {"undo_token": token.group(1)})

    assert held_by(chat) == (None, None)


def test_the_report_counts_missed_windows_by_team(channel: ApiChannel, sales: Team, lena: Any) -> None:
    chats = [client_writes(channel, f"К{number}", ago=timedelta(hours=25)) for number in range(3)]
    tickets.assign_chat(chats[0].pk, user_id=lena.pk, team_id=sales.pk)
    tickets.assign_chat(chats[1].pk, user_id=None, team_id=sales.pk)
    housekeeping.expire_windows()
    tickets.assign_chat(chats[1].pk, user_id=None, team_id=None)  # the report keeps the team of the moment

    desk = signed_in(Client(), vera())  # sees everybody's figures

    html = page_html(desk, "/windows/").split('id="by-team"')[1]
    assert '<th scope="row">Sales</th><td class="number">2</td>' in html
    assert '<th scope="row">No team</th><td class="number">1</td>' in html
    answer: Any = desk.get("/windows/missed.csv")
    lines = list(csv.reader(io.StringIO(b"".join(answer).decode("utf-8-sig"))))
    team = lines[0].index("Team")
    assert sorted(line[team] for line in lines[1:]) == ["", "Sales", "Sales"]
    sales.delete()
    assert 'id="by-team"' not in page_html(desk, "/windows/")
    assert ServiceWindow.objects.filter(missed=True).count() == 3


# --- the API ---------------------------------------------------------------------------------------------


def test_the_api_assigns_to_a_user_a_team_or_both(
    client: Client, channel: ApiChannel, shop: ChatChannel, sales: Team, lena: Any
) -> None:
    assign_role(boris(shop), role=Role.SUPERVISOR)
    chat, key = client_writes(channel, "Анна"), token_of(boris())

    def post(**body: Any) -> Any:
        address = f"/api/v1/conversations/{chat.pk}/assign"
        return client.post(address, body, content_type="application/json", headers=key)

    assert post(team_id=sales.pk).json()["team"] == sales.pk and held_by(chat) == (None, "Sales")
    assert post(user_id=lena.pk).json()["assignee"] == lena.pk and held_by(chat) == ("lena", "Sales")
    assert post(team_id=None).status_code == 200 and held_by(chat) == ("lena", None)
    assert post(user_id=lena.pk, team_id=sales.pk).status_code == 200 and held_by(chat) == ("lena", "Sales")
    assert post(user_id=None).status_code == 200 and held_by(chat) == (None, "Sales")
    assert post().status_code == 400
    elsewhere = Team.objects.create(name="Elsewhere")
    unknown, foreign = post(team_id=elsewhere.pk + 1), post(team_id=elsewhere.pk)
    assert unknown.status_code == foreign.status_code == 400 and unknown.json() == foreign.json()
    lists = [client.get("/api/v1/conversations", {"team": pk}, headers=key) for pk in (sales.pk, elsewhere.pk)]
    assert [[row["id"] for row in answer.json()["results"]] for answer in lists] == [[chat.pk], []]
    assert client.get("/api/v1/teams", headers=key).json()["results"] == [
        {"id": sales.pk, "name": "Sales", "chat_channels": [shop.pk]}
    ]


# --- the admin page --------------------------------------------------------------------------------------


def test_a_member_needs_a_channel_of_the_team(shop: ChatChannel, lena: Any) -> None:
    admin, outsider = signed_in(Client(), vera()), UserFactory(username="olga")
    assign_role(outsider, role=Role.OPERATOR)
    form = {"name": " Night  shift ", "chat_channels": [shop.pk]}

    refused = admin.post("/admin/channels_setup/team/add/", form | {"members": [lena.pk, outsider.pk]})
    assert "operators of none of the team" in refused.content.decode() and "olga" in refused.content.decode()
    assert not Team.objects.exists()
    saved = admin.post("/admin/channels_setup/team/add/", form | {"members": [lena.pk, vera().pk]})

    assert saved.status_code == 302
    team = Team.objects.get()
    assert (team.name, set(team.members.all())) == ("Night shift", {lena, vera()})
    again = admin.post("/admin/channels_setup/team/add/", form | {"name": "night SHIFT", "members": []})
    assert "Another team has this name." in again.content.decode()
    with pytest.raises(IntegrityError), transaction.atomic():
        Team.objects.create(name="NIGHT SHIFT")
    assert "Night shift" in page_html(admin, "/admin/channels_setup/team/")


def test_the_user_page_shows_and_changes_the_teams(shop: ChatChannel, sales: Team, lena: Any) -> None:
    admin, address = signed_in(Client(), vera()), f"/admin/accounts/user/{lena.pk}/change/"
    assert list(admin.get(address).context["adminform"].form.initial["teams"]) == [sales]
    form = {"username": "lena", "role": "operator", "chat_channels": [shop.pk], "is_active": "on"}

    assert admin.post(address, form).status_code == 302
    assert not lena.teams.exists()
    refused = admin.post(address, form | {"chat_channels": [], "teams": [sales.pk]})
    assert "serve none of these chat channels: Sales" in refused.content.decode()
    assert admin.post(address, form | {"teams": [sales.pk]}).status_code == 302
    assert lena.teams.get() == sales
