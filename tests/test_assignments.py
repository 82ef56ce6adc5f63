"""A user who can no longer answer loses their chats, and reminders go to users who can act."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone

from bridge.conversations import assignments, closing_reminders, receiving, tickets
from bridge.models import ClosingReminder, Conversation, Delivery, Message, ServiceWindow, Ticket
from channels_setup.models import ApiChannel, ChannelState, ChatChannel
from channels_setup.providers.base import ContactInfo, MessageReceived
from channels_setup.roles import Role, assign_role
from tests.factories import ApiChannelFactory, UserFactory, boris, vera
from tests.pages import signed_in

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("in_english")]

User = get_user_model()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of tasks enqueued after a commit; our own tasks run immediately."""
    made: list[str] = []

    def call(task: str, *arguments: int) -> None:
        made.append(task)
        if task == "release_assignments":
            assignments.release_lost_assignments()

    monkeypatch.setattr("bridge.wakeups.enqueue_after_commit", call)
    return made


@pytest.fixture
def shop() -> ChatChannel:
    made: ChatChannel = ApiChannelFactory().watched.get()
    return made


def chat_of(shop: ChatChannel, user: Any, name: str = "anna") -> Conversation:
    """Create a chat assigned to ``user``, whose client wrote 23 hours and 50 minutes ago."""
    channel = ApiChannel.objects.get(watched=shop)
    fact = MessageReceived(contact=ContactInfo(external_id=name), text="?", external_id=name)
    chat = receiving.receive_messages(channel, [receiving.IncomingMessage(fact=fact, chat_channel=shop)])[
        0
    ].conversation
    ago = timezone.now() - timedelta(hours=23, minutes=50)
    ServiceWindow.objects.filter(conversation=chat).update(opened_at=ago, expires_at=ago + timedelta(hours=24))
    tickets.assign_chat(chat.pk, user_id=user.pk)
    return chat


def deactivates_in_the_admin(user: Any, shop: ChatChannel) -> None:
    address = f"/admin/accounts/user/{user.pk}/change/"
    form = signed_in(Client(), vera()).get(address).context["adminform"].form
    data = {name: value for name, value in form.initial.items() if value not in (None, False) and name != "password"}
    data |= {"is_active": "", "chat_channels": [shop.pk], "role": "operator"}
    data.pop("is_active")
    data = {
        name: [getattr(one, "pk", one) for one in value] if isinstance(value, list) else value
        for name, value in data.items()
    }
    answer = signed_in(Client(), vera()).post(address, data)
    assert answer.status_code == 302, answer.context["adminform"].form.errors


PATHS: dict[str, Callable[[Any, ChatChannel], Any]] = {
    "deactivated": lambda user, shop: (setattr(user, "is_active", False), user.save()),
    "deactivated in the admin": deactivates_in_the_admin,
    "deactivated in bulk": lambda user, shop: User.objects.filter(pk=user.pk).update(is_active=False),
    "taken from the channel": lambda user, shop: shop.operators.remove(user),
    "channel's operators replaced": lambda user, shop: shop.operators.set([]),
    "channel taken from the user": lambda user, shop: user.chat_channels.clear(),
    "by SQL": lambda user, shop: connection.cursor().execute(
        "DELETE FROM channels_setup_chatchannel_operators WHERE user_id = %s", [user.pk]
    ),
    "deleted": lambda user, shop: user.delete(),
}


@pytest.mark.parametrize("path", PATHS)
def test_a_user_who_can_no_longer_answer_loses_the_chat(path: str, shop: ChatChannel, calls: list[str]) -> None:
    user, other = boris(shop), UserFactory(username="zoya")
    assign_role(other, role=Role.OPERATOR, chat_channels=[])
    mine, theirs = chat_of(shop, user), chat_of(shop, vera(), name="gleb")

    PATHS[path](user, shop)
    assignments.release_lost_assignments()  # the periodic task covers changes that send no signal

    mine.refresh_from_db()
    theirs.refresh_from_db()
    assert mine.assignee is None and theirs.assignee is not None
    assert Ticket.objects.get(conversation=mine).assignee is None
    notice = Message.objects.get(direction="notice")
    assert notice.conversation == mine
    assert notice.sentence == "boris can no longer answer in this chat. The chat is unassigned now."
    assert assignments.release_lost_assignments() == 0
    if path not in ("deactivated in bulk", "by SQL", "deleted"):
        assert "release_assignments" in calls


@pytest.mark.parametrize("path", ["groups cleared", "group deleted", "demoted", "no superuser any more"])
def test_an_admin_who_loses_the_role_loses_chats_of_other_channels(
    path: str, shop: ChatChannel, calls: list[str]
) -> None:
    admin = UserFactory(username="olga", is_superuser=path.startswith("no superuser"))
    if not admin.is_superuser:
        assign_role(admin, role=Role.ADMIN)
    chat = chat_of(shop, admin)
    assert assignments.release_lost_assignments() == 0

    if path == "groups cleared":
        admin.groups.clear()
    elif path == "group deleted":
        Group.objects.get(name=Role.ADMIN.label).delete()
        assignments.release_lost_assignments()  # the signal arrives before the deletion
    elif path == "demoted":
        assign_role(admin, role=Role.OPERATOR, chat_channels=[])
    else:
        admin.is_superuser = False
        admin.save()

    chat.refresh_from_db()
    assert chat.assignee is None and "release_assignments" in calls


def test_logging_in_runs_no_assignment_queries(shop: ChatChannel, calls: list[str]) -> None:
    user = boris(shop)
    calls.clear()
    user.last_login = timezone.now()
    user.save(update_fields=["last_login"])

    assert calls == []


def test_subscribers_receive_the_unassignment(shop: ChatChannel, calls: list[str]) -> None:
    ApiChannelFactory(
        kind="acebot",
        redirect_url="http://127.0.0.1:9/",
        state=ChannelState.LIVE,
        watched=shop,
        track_change=True,
        secret=True,
    )
    fact = MessageReceived(contact=ContactInfo(external_id="anna"), text="?", external_id="1")
    channel = ApiChannel.objects.get(kind="sandbox")
    chat = receiving.receive_messages(channel, [receiving.IncomingMessage(fact=fact, chat_channel=shop)])[
        0
    ].conversation
    user = boris(shop)
    tickets.assign_chat(chat.pk, user_id=user.pk)
    Delivery.objects.all().delete()
    shop.operators.remove(user)

    event = Delivery.objects.get(track="change").payload["event"]
    assert event["trigger"]["data"] == [{"target": "assignee_id", "value": None, "old_value": user.pk}]


def test_a_chat_without_a_live_request_is_unassigned_without_a_thread_line(shop: ChatChannel, calls: list[str]) -> None:
    user = boris(shop)
    chat = chat_of(shop, user)
    tickets.set_ticket_status(Ticket.objects.get().pk, status=Ticket.Status.CLOSED)
    shop.operators.remove(user)

    chat.refresh_from_db()
    assert chat.assignee is None and not Message.objects.filter(direction="notice").exists()
    assert Ticket.objects.get().assignee == user  # the operator who answered stays on record


def test_an_operator_keeps_chats_of_their_remaining_channels(shop: ChatChannel, calls: list[str]) -> None:
    other: ChatChannel = ApiChannelFactory().watched.get()
    user = boris(shop)
    other.operators.add(user)
    lost_chat, kept_chat = chat_of(shop, user), chat_of(other, user)
    shop.operators.remove(user)

    lost_chat.refresh_from_db()
    kept_chat.refresh_from_db()
    assert (lost_chat.assignee, kept_chat.assignee) == (None, user)


# --- several live requests in a chat -------------------------------------------------------------------------


def open_another(chat: Conversation, user: Any) -> Ticket:
    """Open a newer request in the chat through the API; it becomes the current one."""
    with transaction.atomic():
        return tickets.open_ticket(
            receiving.lock_conversation(chat.pk), text="!", properties={}, assignee_id=user and user.pk
        )


@pytest.fixture
def zoya(shop: ChatChannel) -> Any:
    user = UserFactory(username="zoya")
    assign_role(user, role=Role.OPERATOR, chat_channels=[shop])
    return user


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("whose_chat", ["an admin", "nobody"])
def test_every_live_request_of_a_deactivated_user_is_unassigned(
    path: str, whose_chat: str, shop: ChatChannel, calls: list[str]
) -> None:
    user, other = boris(shop), vera() if whose_chat == "an admin" else None
    chat = chat_of(shop, user)
    earlier = Ticket.objects.get()
    current = open_another(chat, other)

    PATHS[path](user, shop)
    assignments.release_lost_assignments()

    for row in (chat, earlier, current):
        row.refresh_from_db()
    assert earlier.assignee is None
    assert chat.assignee == current.assignee == other
    [notice] = Message.objects.filter(direction="notice")
    assert notice.sentence == f"boris can no longer answer in this chat. Request No. {earlier.pk} is unassigned now."
    assert assignments.release_lost_assignments() == 0


@pytest.mark.parametrize("left", ["earlier", "current", "both"])
def test_a_request_of_an_active_user_stays_assigned(left: str, shop: ChatChannel, calls: list[str], zoya: Any) -> None:
    user = boris(shop)
    owners = {name: user if left in (name, "both") else zoya for name in ("earlier", "current")}
    chat = chat_of(shop, owners["earlier"])
    rows = {"earlier": Ticket.objects.get(), "current": open_another(chat, owners["current"])}

    shop.operators.remove(user)

    for name, row in rows.items():
        row.refresh_from_db()
        assert row.assignee == (None if left in (name, "both") else zoya)
    chat.refresh_from_db()
    assert chat.assignee == rows["current"].assignee
    assert Message.objects.filter(direction="notice").count() == (2 if left == "both" else 1)


def test_a_chat_and_its_request_with_different_assignees_are_aligned(
    shop: ChatChannel, calls: list[str], zoya: Any
) -> None:
    """Earlier versions could leave such rows."""
    user = boris(shop)
    chat = chat_of(shop, user)
    Ticket.objects.update(assignee=zoya)

    shop.operators.remove(user)

    chat.refresh_from_db()
    assert chat.assignee == zoya == Ticket.objects.get().assignee
    assert not Message.objects.filter(direction="notice").exists()


@pytest.mark.parametrize("ended", Ticket.ENDED)
def test_after_closing_the_chat_goes_to_the_next_requests_assignee(
    ended: int, shop: ChatChannel, calls: list[str], zoya: Any
) -> None:
    user = boris(shop)
    chat = chat_of(shop, user)
    current = open_another(chat, zoya)
    chat.refresh_from_db()
    assert chat.assignee == zoya

    tickets.set_ticket_status(current.pk, status=ended)

    chat.refresh_from_db()
    assert chat.assignee == user and chat.request_status == Ticket.Status.NEW


def test_a_reopened_request_goes_to_the_chats_assignee(shop: ChatChannel, calls: list[str], zoya: Any) -> None:
    user = boris(shop)
    chat = chat_of(shop, user)
    ticket = Ticket.objects.get()
    tickets.set_ticket_status(ticket.pk, status=Ticket.Status.CLOSED)
    tickets.assign_chat(chat.pk, user_id=zoya.pk)

    tickets.set_ticket_status(ticket.pk, status=Ticket.Status.OPEN)

    chat.refresh_from_db()
    ticket.refresh_from_db()
    assert chat.assignee == ticket.assignee == zoya


def test_the_request_table_assigns_the_selected_request(shop: ChatChannel, calls: list[str], zoya: Any) -> None:
    user = boris(shop)
    chat = chat_of(shop, user)
    earlier, current = Ticket.objects.get(), open_another(chat, zoya)
    client = signed_in(Client(), user)

    answer = client.post("/requests/change/", {"assign": "", "assignee": user.pk, "ticket": [current.pk]})
    assert answer.status_code == 302
    answer = client.post("/requests/change/", {"assign": "", "assignee": zoya.pk, "ticket": [earlier.pk]})

    assert answer.status_code == 302
    earlier.refresh_from_db()
    current.refresh_from_db()
    chat.refresh_from_db()
    assert (earlier.assignee, current.assignee, chat.assignee) == (zoya, user, user)


@pytest.mark.parametrize("nobody", ["0", "x", "-1", "9" * 30, "²"])
def test_a_non_numeric_assignee_changes_nothing(nobody: str, shop: ChatChannel, calls: list[str]) -> None:
    user = boris(shop)
    chat_of(shop, user)

    signed_in(Client(), user).post(
        "/requests/change/", {"assign": "", "assignee": nobody, "ticket": [Ticket.objects.get().pk]}
    )

    assert Ticket.objects.get().assignee == user


# --- warnings of closing windows -----------------------------------------------------------------------------


def reminder_count(user: Any, shop: ChatChannel) -> int:
    return len(closing_reminders.find_pending_reminders(user, [shop.pk], after=0).reminders)


@pytest.mark.parametrize("state", ["can answer", "deactivated", "lost the channel"])
def test_closing_reminders_go_to_the_assignee_or_to_all_operators(shop: ChatChannel, state: str) -> None:
    user, colleague = boris(shop), UserFactory(username="zoya")
    assign_role(colleague, role=Role.OPERATOR, chat_channels=[shop])
    chat_of(shop, user)
    if state == "deactivated":
        User.objects.filter(pk=user.pk).update(is_active=False)
    elif state == "lost the channel":
        ChatChannel.operators.through.objects.filter(user=user).delete()

    assert closing_reminders.send_reminders() == 1

    assert ClosingReminder.objects.get().assignee == (user if state == "can answer" else None)
    assert reminder_count(colleague, shop) == (0 if state == "can answer" else 1)


def test_reminders_of_a_released_assignee_go_to_all_operators(shop: ChatChannel, calls: list[str]) -> None:
    user, colleague = boris(shop), UserFactory(username="zoya")
    assign_role(colleague, role=Role.OPERATOR, chat_channels=[shop])
    chat_of(shop, user)
    closing_reminders.send_reminders()
    assert reminder_count(colleague, shop) == 0

    user.is_active = False
    user.save()
    closing_reminders.send_reminders()

    assert reminder_count(colleague, shop) == 1


def test_the_user_add_command_releases_no_chats(shop: ChatChannel, calls: list[str]) -> None:
    chat = chat_of(shop, boris(shop))
    call_command("user", "add", "nina", "--role", "operator", "--chat-channel", str(shop.pk))

    chat.refresh_from_db()
    assert chat.assignee is not None
