"""Activity lines of a thread: every way to assign, close, reopen and tag writes one, in order."""

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from bridge.conversations import activity, assignments, team_releases, tickets
from bridge.models import Conversation, ConversationActivity, Delivery, Ticket
from channels_setup.models import ApiChannel, Team
from channels_setup.roles import Role, assign_role
from tests.factories import boris, operator, vera
from tests.pages import SCRIPT, page_html, signed_in
from tests.scenarios.sending import client_writes

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("in_english")]

ROOT = Path(__file__).parent.parent
SETS_IT = re.compile(
    r"^ +(ticket|conversation|into)\.(assignee_id|team_id|status)[\w., ]* = |update\((assignee|team)=", re.M
)


@pytest.fixture
def chat(channel: ApiChannel) -> Conversation:
    return client_writes(channel, "Анна", "Где мой заказ?")


@pytest.fixture
def desk(chat: Conversation, client: Client) -> Client:
    person = boris(chat.chat_channel)
    assign_role(person, role=Role.SUPERVISOR)
    return signed_in(client, person)


@pytest.fixture
def lena(chat: Conversation) -> Any:
    return operator("lena", chat.chat_channel)


def said(chat: Conversation) -> list[str]:
    """Return the lines of the chat as the thread shows them, without the time."""
    lines = ConversationActivity.objects.filter(conversation=chat).order_by("pk")
    rows = []
    for line in lines:
        name = {user.pk: user.username for user in (boris(), *([line.actor] if line.actor else []))}
        names = dict(type(boris()).objects.values_list("pk", "username"))
        team = line.details.get("team")
        name = Team.objects.get(pk=team).name if team else names.get(line.details.get("user"), "")
        rows.append(activity.render_line(line, name=name) + (f" · {line.actor}" if line.actor else ""))
    return rows


def live(chat: Conversation) -> Ticket:
    ticket = tickets.get_current_ticket(chat)
    assert ticket
    return ticket


def bulk(desk: Client, chat: Conversation, **values: Any) -> None:
    answer = desk.post("/requests/change/", {"ticket": [live(chat).pk], **values}, headers=SCRIPT)
    assert answer.status_code < 400, answer.content


def deactivate(lena: Any) -> None:
    lena.is_active = False
    lena.save()
    assignments.release_lost_assignments()


def test_every_change_from_the_desk_has_a_line(desk: Client, chat: Conversation, lena: Any) -> None:
    number = live(chat).pk
    assign, status = f"/chats/{chat.pk}/assign/", f"/chats/{chat.pk}/request/"
    team = Team.objects.create(name="Sales")
    team.chat_channels.add(chat.chat_channel)
    before = Delivery.objects.count()

    for values in ({"user": boris().pk}, {"user": lena.pk}, {"user": lena.pk}, {"team": team.pk}, {"user": ""}):
        assert desk.post(assign, values, headers=SCRIPT).status_code == 204
    for new in (Ticket.Status.ON_HOLD, Ticket.Status.CLOSED, Ticket.Status.OPEN):
        assert desk.post(status, {"ticket": number, "status": new}, headers=SCRIPT).status_code == 204
    assert desk.post(f"/chats/{chat.pk}/client/tags/", {"add": "vip"}, headers=SCRIPT).status_code == 204
    assert desk.post(f"/chats/{chat.pk}/client/tags/", {"drop": "vip"}, headers=SCRIPT).status_code == 204

    assert said(chat) == [
        "boris took the chat · boris",
        "Assigned to lena · boris",
        "Unassigned from lena · boris",
        "Team: Sales · boris",
        "Removed from team Sales · boris",
        f"Request № {number}: on hold · boris",
        f"Request № {number}: closed · boris",
        f"Request № {number} reopened · boris",
        "Client tag added: vip · boris",
        "Client tag removed: vip · boris",
    ]
    html = page_html(desk, f"/chats/{chat.pk}/")
    assert "8 earlier changes" in html or "9 earlier changes" in html
    assert f"Request № {number}: closed" in html and "Client tag removed: vip" in html
    assert Delivery.objects.count() == before  # lines are no events


def test_changes_by_programs_the_client_and_the_portal_have_a_line(
    chat: Conversation, channel: ApiChannel, lena: Any
) -> None:
    number = live(chat).pk
    team = Team.objects.create(name="Sales")
    team.chat_channels.add(chat.chat_channel)
    tickets.assign_ticket(number, user_id=lena.pk, team_id=team.pk)
    tickets.set_ticket_properties(number, {"tags": ["refund", "vip"]})
    tickets.set_ticket_properties(number, {"tags": ["vip"]})
    tickets.set_ticket_status(number, status=Ticket.Status.SOLVED)
    client_writes(channel, "Анна", "Ещё вопрос")
    team.chat_channels.clear()
    team_releases.release_lost_teams()
    chat.refresh_from_db()
    other = tickets.open_ticket(chat, text="", properties={}, assignee_id=lena.pk)
    tickets.set_ticket_status(other.pk, status=Ticket.Status.CLOSED)
    tickets.set_ticket_status(number, status=Ticket.Status.CLOSED)
    deactivate(lena)

    assert said(chat) == [
        "Assigned to lena",
        "Team: Sales",
        "Tags added: refund, vip",
        "Tags removed: refund",
        f"Request № {number}: solved",
        f"Request № {number} reopened: the client wrote",
        "Removed from team Sales",
        f"Request № {other.pk} opened",
        f"Request № {other.pk}: closed",
        f"Request № {number}: closed",
        "Unassigned from lena, who can no longer answer here",
    ]


def test_lines_stand_between_the_messages_and_say_a_status_once(
    desk: Client, chat: Conversation, channel: ApiChannel
) -> None:
    number = live(chat).pk
    client_writes(channel, "Анна", "Алло?")
    tickets.set_ticket_status(number, status=Ticket.Status.SOLVED, by=vera().pk)
    client_writes(channel, "Анна", "Спасибо!")

    html = page_html(desk, f"/chats/{chat.pk}/")

    thread = html[html.index('id="messages"') : html.index('id="sending"')]
    assert thread.index("Алло?") < thread.index(f"Request № {number}: solved") < thread.index("Спасибо!")
    assert thread.count(f"Request № {number}: solved") == 1
    assert 'data-key="ended-' not in thread


def test_a_line_updates_the_open_thread_with_constant_queries(
    desk: Client, chat: Conversation, django_assert_max_num_queries: Callable[..., Any]
) -> None:
    from bridge.desk.live import versions

    before = versions.thread_version(chat.pk)
    for _n in range(30):
        activity.record_activity(chat.pk, "tagged", actor=vera(), tags=["x"])
    assert versions.thread_version(chat.pk) != before
    with django_assert_max_num_queries(60) as few:
        desk.get(f"/chats/{chat.pk}/")
    count = len(few)
    for _n in range(100):
        activity.record_activity(chat.pk, "assigned", actor=boris(), user=vera().pk)
    ConversationActivity.objects.filter(kind="tagged").update(created_at=timezone.now() - timedelta(days=3))
    with django_assert_max_num_queries(count):
        desk.get(f"/chats/{chat.pk}/")


def test_an_erased_chat_gets_no_line_and_an_unknown_kind_is_refused(chat: Conversation) -> None:
    Conversation.objects.filter(pk=chat.pk).update(is_erased=True, last_text="")
    activity.record_activity(chat.pk, "tagged", tags=["Anna"])
    assert not ConversationActivity.objects.exists()
    with pytest.raises(ValueError, match="shouted"):
        activity.record_activity(chat.pk, "shouted")


def test_only_these_files_change_who_answers() -> None:
    """Code that sets an assignee, a team or a status must write a line: see ``conversations.activity``."""
    known = {
        "bridge/conversations/tickets.py",  # writes the lines
        "bridge/conversations/team_releases.py",  # writes a line
        "bridge/conversations/receiving.py",  # writes a line: the client reopens
        "bridge/merging/merge.py",  # a merge is shown in the client pane
        "bridge/merging/undo.py",
        "bridge/relay/chat_starts.py",  # writes "chat_started"
        "bridge/relay/reply_submission.py",  # a first answer makes a new request open
    }
    found = set()
    for path in (ROOT / "bridge").rglob("*.py"):
        name = str(path.relative_to(ROOT))
        if "migrations" not in name and SETS_IT.search(path.read_text()):
            found.add(name)
    assert found - known == set()
