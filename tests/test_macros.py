"""Macros and quick replies of one's own: all actions or none, who sees them, and the pages to edit them."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from bridge.models import (
    CannedResponse,
    Conversation,
    ConversationActivity,
    ConversationNote,
    Macro,
    Message,
    Notification,
    Ticket,
)
from channels_setup.models import ApiChannel, Team
from tests.factories import ChatChannelFactory, UserFactory, boris, operator, vera
from tests.pages import SCRIPT, page_html, signed_in
from tests.scenarios.sending import client_writes, move_windows_back

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("in_english")]


@pytest.fixture
def chat(channel: ApiChannel) -> Conversation:
    return client_writes(channel, "Анна", "Где заказ?")


def make_macro(**values: Any) -> Macro:
    return Macro.objects.create(
        **{
            "name": "Shipped",
            "reply_text": "{first name}, it is on its way.",
            "note_text": "Told by {operator}",
            "add_tags": ["delivery"],
            "remove_tags": ["New"],
            "assignment": Macro.Assignment.ME,
            "status": Ticket.Status.PENDING,
            "snooze": Macro.SnoozeChoice.TOMORROW,
        }
        | values
    )


def run(desk: Client, chat: Conversation, macro: Macro, key: str = "key-number-one") -> Any:
    return desk.post(f"/chats/{chat.pk}/macros/{macro.pk}/", {"macro_key": key}, headers=SCRIPT)


def nothing_changed(chat: Conversation) -> bool:
    chat.refresh_from_db()
    ticket = Ticket.objects.get(conversation=chat)
    outbound = Message.objects.filter(conversation=chat, direction=Message.Direction.OUTBOUND)
    return (
        not outbound.exists()
        and not ConversationNote.objects.exists()
        and not ConversationActivity.objects.exists()
        and (ticket.tags, ticket.status, ticket.assignee_id) == (["new"], Ticket.Status.NEW, None)
        and (chat.assignee_id, chat.snoozed_until) == (None, None)
    )


def test_a_macro_does_everything_once(desk: Client, chat: Conversation) -> None:
    Ticket.objects.update(tags=["new", "vip"])
    macro = make_macro()
    html = page_html(desk, f"/chats/{chat.pk}/")
    assert "Reply: Анна, it is on its way." in html and "Snooze: until tomorrow, 9:00" in html

    assert [run(desk, chat, macro).status_code, run(desk, chat, macro).status_code] == [204, 204]

    ticket = Ticket.objects.get()
    assert (ticket.tags, ticket.status, ticket.assignee) == (["vip", "delivery"], Ticket.Status.PENDING, boris())
    assert ConversationNote.objects.get().text == "Told by boris"
    [reply] = Message.objects.filter(direction=Message.Direction.OUTBOUND)
    assert reply.text == "Анна, it is on its way." and reply.form_key == "key-number-one"
    chat.refresh_from_db()
    assert chat.snoozed_until is not None and chat.assignee == boris()
    assert ConversationActivity.objects.filter(kind="macro", details={"macro": "Shipped"}).count() == 1


def test_a_macro_that_answers_takes_an_unassigned_chat(desk: Client, chat: Conversation) -> None:
    macro = make_macro(assignment="", status=None, snooze="", note_text="Ask @[1]")
    assert run(desk, chat, macro).status_code == 204
    chat.refresh_from_db()
    assert chat.assignee == boris()
    assert ConversationNote.objects.get().text == "Ask @ [1]"  # typed by hand, so nobody's name is shown


def test_the_assignee_of_a_macro_is_notified_once(desk: Client, chat: Conversation) -> None:
    chat.chat_channel.operators.add(vera())
    assert run(desk, chat, make_macro(assignment=Macro.Assignment.USER, assign_user=vera())).status_code == 204
    rows = Notification.objects.filter(kind="assigned").values_list("user", "actor", "conversation")
    assert list(rows) == [(vera().pk, boris().pk, chat.pk)]


def test_a_closed_window_refuses_the_whole_macro(desk: Client, chat: Conversation) -> None:

    Ticket.objects.update(tags=["new"])
    move_windows_back(timedelta(hours=25))

    answer = run(desk, chat, make_macro())

    assert answer.status_code == 422 and "window" in answer.json()["sentence"].lower()
    assert nothing_changed(chat)


@pytest.mark.parametrize(
    "values, words",
    [
        ({"assignment": Macro.Assignment.USER}, "cannot answer in this channel"),
        ({"assignment": Macro.Assignment.TEAM}, "does not serve this channel"),
        ({"add_tags": [str(number) for number in range(200)]}, "tags"),
        ({"status": Ticket.Status.CLOSED}, "nothing to snooze"),
    ],
)
def test_an_impossible_action_undoes_the_ones_before_it(
    desk: Client, chat: Conversation, values: dict[str, Any], words: str
) -> None:
    Ticket.objects.update(tags=["new"])
    stranger, team = UserFactory(username="stranger"), Team.objects.create(name="Elsewhere")

    answer = run(desk, chat, make_macro(assign_user=stranger, assign_team=team, **values))

    assert answer.status_code == 422 and words in answer.json()["sentence"]
    assert nothing_changed(chat)


def test_an_operator_cannot_take_a_colleagues_chat_away_with_a_macro(desk: Client, chat: Conversation) -> None:
    Conversation.objects.update(assignee=vera())
    Ticket.objects.update(assignee=vera())

    answer = run(desk, chat, make_macro(assignment=Macro.Assignment.NOBODY, reply_text="", note_text=""))

    assert answer.status_code == 422 and "belongs to a colleague" in answer.json()["sentence"]


def test_who_may_run_which_macro(desk: Client, chat: Conversation) -> None:
    other_channel: Any = ChatChannelFactory()
    foreign, unused = make_macro(name="foreign", owner=vera()), make_macro(name="unused", is_used=False)
    elsewhere, mine = make_macro(name="elsewhere"), make_macro(name="mine", owner=boris())
    elsewhere.chat_channels.add(other_channel)

    for macro in (foreign, unused, elsewhere):
        assert run(desk, chat, macro).status_code == 404
    html = desk.get(f"/chats/{chat.pk}/canned-responses/", headers=SCRIPT).content.decode()
    assert "mine" in html and "foreign" not in html and "elsewhere" not in html
    assert run(desk, chat, mine).status_code == 204


def test_an_operator_keeps_quick_replies_and_macros(desk: Client, chat: Conversation, client: Client) -> None:
    assert "None yet." in page_html(desk, "/desk/replies/")
    made = desk.post("/desk/replies/quick-reply/", {"name": "hi", "folder": "Start", "text": "Hi, {first name}"})
    assert made.status_code == 302
    row = CannedResponse.objects.get()
    assert row.owner == boris()
    bad = desk.post(f"/desk/replies/quick-reply/{row.pk}/", {"name": "hi", "text": "{unknown}"})
    assert "Unknown variable" in bad.content.decode()
    fields = {"name": "done", "reply_text": "Bye", "add_tags": "a, b", "assignment": "", "status": "3", "snooze": ""}
    assert desk.post("/desk/replies/macro/", fields).status_code == 302
    macro = Macro.objects.get()
    assert (macro.owner, macro.add_tags, macro.status) == (boris(), ["a", "b"], Ticket.Status.CLOSED)
    page = page_html(desk, "/desk/replies/")
    assert "Start" in page and "Add tags: a, b" in page
    empty = desk.post("/desk/replies/macro/", {"name": "empty", "assignment": "", "snooze": ""})
    assert "Choose at least one action." in empty.content.decode()
    contradiction = desk.post("/desk/replies/macro/", fields | {"snooze": "later"})
    assert "cannot be snoozed" in contradiction.content.decode()

    colleague = operator("lena", chat.chat_channel)
    signed_in(client, colleague)
    assert client.get(f"/desk/replies/macro/{macro.pk}/").status_code == 404
    assert "Bye" not in client.get(f"/chats/{chat.pk}/canned-responses/", headers=SCRIPT).content.decode()
    signed_in(client, boris())
    assert client.post(f"/desk/replies/macro/{macro.pk}/", {"delete": "1"}).status_code == 302
    assert not Macro.objects.exists() and client.get("/desk/replies/other/").status_code == 404


def test_admins_edit_shared_macros_and_the_automation_of_a_channel(channel: ApiChannel, client: Client) -> None:
    signed_in(client, vera())
    own = make_macro(name="own", owner=boris())
    shared = make_macro(name="shared")
    html = page_html(client, "/admin/bridge/macro/")
    assert "shared" in html and f"/{own.pk}/change/" not in html
    form_html = page_html(client, f"/admin/bridge/macro/{shared.pk}/change/")
    assert form_html.count("Several tags are separated by commas.") == 2
    assert '<input type="text" name="add_tags"' in form_html

    shop = channel.default_chat_channel
    assert shop is not None
    address = f"/admin/channels_setup/chatchannel/{shop.pk}/change/"
    assert "Automatic assignment" in page_html(client, address)
    form = {
        **{"name": shop.name, "company_id": shop.company_id, "time_zone": "", "work_weekends": "on"},
        **{"automation-TOTAL_FORMS": "1", "automation-INITIAL_FORMS": "0", "automation-MAX_NUM_FORMS": "1"},
        **{"automation-MIN_NUM_FORMS": "0", "automation-0-chat_channel": shop.pk},
        **{"automation-0-assigns_chats": "on", "automation-0-away_text": "We open {opens}."},
    }
    refused = client.post(address, form)
    assert "Set the working hours of this channel first." in refused.content.decode()
    saved = client.post(address, form | {"work_from": "09:00", "work_until": "18:00"})
    assert saved.status_code == 302 and shop.automation.assigns_chats
    unknown = client.post(
        address,
        form
        | {"work_from": "09:00", "work_until": "18:00", "automation-INITIAL_FORMS": "1"}
        | {"automation-0-id": shop.automation.pk, "automation-0-away_text": "{operator}"},
    )
    assert "Unknown variable" in unknown.content.decode()


def test_the_note_of_a_macro_mentions_people(desk: Client, chat: Conversation) -> None:
    olga = operator("olga", chat.chat_channel, first_name="Olga", last_name="Ivanova")
    macro = make_macro(reply_text="", note_text="@Olga Ivanova, please call back", status=None, snooze="")

    run(desk, chat, macro)

    assert ConversationNote.objects.get().text == f"@[{olga.pk}], please call back"
    assert Notification.objects.get(kind="mentioned").user == olga
