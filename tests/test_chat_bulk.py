"""Actions on chats of the list: rights, the state of each row, sentences, undo and cost."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from bridge.conversations import tickets
from bridge.desk.bulk import changes
from bridge.desk.bulk.row_states import build_state
from bridge.models import (
    ChatPin,
    Conversation,
    ConversationActivity,
    ConversationNote,
    Macro,
    NoteMention,
    Snooze,
    Ticket,
)
from channels_setup.models import ApiChannel, Team
from channels_setup.roles import Role, assign_role
from tests.factories import ApiChannelFactory, boris, operator
from tests.pages import SCRIPT, page_html, signed_in
from tests.scenarios.sending import boris_answers, client_writes

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("in_english")]
Status = Ticket.Status


@pytest.fixture
def chats(channel: ApiChannel) -> list[Conversation]:
    return [client_writes(channel, f"К{number}") for number in range(3)]


def post(desk: Client, action: str, chats: list[Conversation], **values: Any) -> Any:
    """Post an action for chats with the state of their rows."""
    for_user = desk.session["_auth_user_id"]
    rows = [f"{chat.pk}:{build_state(chat)}" for chat in chats]
    return desk.post("/chats/bulk/", {"action": action, "chat": rows, "for_user": for_user, **values}, headers=SCRIPT)


def change(desk: Client, action: str, chats: list[Conversation], **values: Any) -> str:
    """Run an action and return its sentence."""
    response = post(desk, action, chats, **values)
    assert response.status_code == 200, response.content.decode()
    desk.undo_token = response.json()["undo_token"]  # type: ignore[attr-defined]
    return str(response.json()["sentence"])


def undo(desk: Client) -> str:
    values = {"undo_token": desk.undo_token, "for_user": desk.session["_auth_user_id"]}  # type: ignore[attr-defined]
    return str(desk.post("/chats/bulk/undo/", values, headers=SCRIPT).json()["sentence"])


def fresh(chats: list[Conversation]) -> list[Conversation]:
    return list(Conversation.objects.filter(pk__in=[chat.pk for chat in chats]).order_by("pk"))


def status_of(chat: Conversation) -> int:
    return Ticket.objects.filter(conversation=chat).latest("pk").status


# --- assign ----------------------------------------------------------------------------------------------


def test_chats_are_assigned_and_given_back(desk: Client, chats: list[Conversation]) -> None:
    me = boris()
    assert change(desk, "assign", chats, assignee=me.pk) == "3 chats assigned."
    assert {chat.assignee_id for chat in fresh(chats)} == {me.pk}
    assert set(Ticket.objects.values_list("assignee", flat=True)) == {me.pk}
    token = desk.undo_token  # type: ignore[attr-defined]
    assert change(desk, "assign", fresh(chats), assignee=me.pk) == "3 unchanged."

    tickets.assign_chat(chats[0].pk, user_id=operator("olga", chats[0].chat_channel).pk)
    desk.undo_token = token  # type: ignore[attr-defined]
    assert undo(desk) == "2 chats restored. 1 unchanged."
    assert [chat.assignee_id is None for chat in fresh(chats)] == [False, True, True]


def test_a_chat_that_a_colleague_took_is_not_taken_away(desk: Client, chats: list[Conversation]) -> None:
    olga = operator("olga", chats[0].chat_channel)
    tickets.assign_chat(chats[0].pk, user_id=olga.pk)

    sentence = change(desk, "assign", chats, assignee=boris().pk)  # the rows showed nobody

    assert sentence == "2 chats assigned. 1 not assigned: its assignee changed meanwhile."
    assert fresh(chats)[0].assignee_id == olga.pk
    # An operator hands on only their own chats; a supervisor everybody's.
    refused = change(desk, "assign", fresh(chats)[:1], assignee="")
    assert refused.startswith("1 not changed: This chat belongs to a colleague.")
    assign_role(boris(), role=Role.SUPERVISOR)
    assert change(desk, "assign", fresh(chats)[:1], assignee="") == "1 chat assigned."


def test_only_who_serves_the_channel_gets_its_chats(desk: Client, chats: list[Conversation]) -> None:
    other = ApiChannelFactory().default_chat_channel
    stranger, team = operator("olga", other), Team.objects.create(name="Продажи")
    team.chat_channels.add(other)
    served = "3 not assigned: the person or team does not serve their channels."
    assert change(desk, "assign", chats, assignee=stranger.pk) == served
    assert change(desk, "assign", chats, assignee=f"team-{team.pk}") == served
    team.chat_channels.add(chats[0].chat_channel)
    assert change(desk, "assign", chats, assignee=f"team-{team.pk}") == "3 chats assigned."
    assert {chat.team_id for chat in fresh(chats)} == {team.pk}


def test_chats_of_other_channels_are_never_changed(desk: Client, chats: list[Conversation]) -> None:
    hidden = client_writes(ApiChannelFactory(), "Чужой")
    Conversation.objects.filter(pk=hidden.pk).update(unread=3)
    for action in ("assign", "close", "tag", "untag", "snooze", "wake", "read", "unread", "pin", "unpin"):
        values = {"assignee": boris().pk, "tag": "vip", "snooze": "reply"}
        response = post(desk, action, [hidden], **values)
        assert response.json()["sentence"] == "1 not found, or you do not have access."
        assert response.json()["rows"] == ""
    hidden.refresh_from_db()
    assert (hidden.unread, hidden.assignee_id, hidden.snoozed_until) == (3, None, None)
    assert status_of(hidden) == Status.NEW and not ChatPin.objects.exists()


# --- close, tags, snooze, macros ---------------------------------------------------------------------------


def test_requests_are_closed_unless_the_client_wrote(desk: Client, channel: ApiChannel) -> None:
    chats = [client_writes(channel, f"К{number}") for number in range(3)]
    tickets.set_ticket_status(Ticket.objects.get(conversation=chats[0]).pk, status=Status.CLOSED)
    client_writes(channel, "К1", "Ещё вопрос")  # its row is older

    assert change(desk, "close", chats) == (
        "1 request closed. 1 was already closed. 1 not changed: the client wrote meanwhile."
    )
    assert [status_of(chat) for chat in chats] == [Status.CLOSED, Status.NEW, Status.CLOSED]
    assert undo(desk) == "1 chat restored."
    assert status_of(chats[2]) == Status.NEW


def test_a_tag_is_added_and_removed(desk: Client, chats: list[Conversation]) -> None:
    first = Ticket.objects.get(conversation=chats[0])
    tickets.set_ticket_properties(first.pk, {"add_tags": ["VIP"]})

    assert change(desk, "tag", chats, tag="  #vip ") == "Tag added to 2 requests. 1 unchanged."
    assert [ticket.tags for ticket in Ticket.objects.order_by("pk")] == [["VIP"], ["vip"], ["vip"]]
    assert undo(desk) == "2 chats restored."
    assert [ticket.tags for ticket in Ticket.objects.order_by("pk")] == [["VIP"], [], []]
    assert change(desk, "untag", chats, tag="vip") == "Tag removed from 1 request. 2 unchanged."
    assert undo(desk) == "1 chat restored."
    first.refresh_from_db()
    assert first.tags == ["VIP"]
    assert post(desk, "tag", chats, tag=" # ").json()["sentence"] == "Enter a tag."
    assert post(desk, "tag", chats, tag=" # ").status_code == 422


def test_chats_are_snoozed_and_woken(desk: Client, channel: ApiChannel) -> None:
    chats = [client_writes(channel, f"К{number}") for number in range(3)]
    boris_answers(chats[0])
    boris_answers(chats[1])
    tickets.set_ticket_status(Ticket.objects.get(conversation=chats[1]).pk, status=Status.CLOSED)
    chats = fresh(chats)

    sentence = change(desk, "snooze", chats, snooze="reply")
    assert sentence.startswith("2 chats snoozed. 1 not changed: This chat has no open request")
    assert [chat.snoozed_until is not None for chat in fresh(chats)] == [True, False, True]
    assert change(desk, "snooze", fresh(chats)[:1], snooze="other", until="2030-01-01T09:00") != ""
    later = (timezone.localtime() + timedelta(days=2)).strftime("%Y-%m-%dT%H:%M")
    assert change(desk, "snooze", fresh(chats)[:1], snooze="other", until=later) == "1 chat snoozed."
    assert Snooze.objects.get(conversation=chats[0]).until is not None
    assert undo(desk) == "1 chat restored."
    assert Snooze.objects.get(conversation=chats[0]).until is None
    assert change(desk, "wake", fresh(chats)) == "Snooze ended in 2 chats. 1 unchanged."
    assert undo(desk) == "2 chats restored."
    for values in ({"snooze": "other", "until": "?"}, {"snooze": "?"}):
        assert post(desk, "snooze", chats, **values).status_code == 422


def test_a_macro_that_writes_to_clients_is_not_for_many(desk: Client, chats: list[Conversation]) -> None:
    writes = Macro.objects.create(name="Ответ", reply_text="Добрый день")
    tags = Macro.objects.create(name="Метка", add_tags=["опт"])
    other, foreign = (Macro.objects.create(name=name, add_tags=["опт"]) for name in ("Другой канал", "Чужой канал"))
    served = ApiChannelFactory().default_chat_channel
    served.operators.add(boris())
    other.chat_channels.add(served)
    foreign.chat_channels.add(ApiChannelFactory().default_chat_channel)
    page = page_html(desk, "/chats/bulk/choices/")
    assert "Метка" in page and "Другой канал" in page and "Ответ" not in page and "Чужой канал" not in page

    assert change(desk, "macro", chats, macro=tags.pk) == "Macro applied to 3 chats."
    assert desk.undo_token == ""  # type: ignore[attr-defined]
    assert change(desk, "macro", chats, macro=other.pk) == "3 not changed: The macro is not for this channel."
    assert post(desk, "macro", chats, macro=writes.pk).status_code == 422
    assert post(desk, "macro", chats, macro=foreign.pk).status_code == 422


def test_a_macro_leaves_chats_that_changed_since(desk: Client, channel: ApiChannel) -> None:
    chats = [client_writes(channel, f"К{number}") for number in range(3)]
    olga = operator("olga", chats[0].chat_channel)
    tickets.assign_chat(chats[0].pk, user_id=olga.pk, by=olga.pk)
    client_writes(channel, "К1", "Ещё вопрос")
    take = Macro.objects.create(name="Себе", assignment=Macro.Assignment.ME)
    close = Macro.objects.create(name="Закрыть", status=Status.CLOSED)

    sentence = "Macro applied to 2 chats. 1 not assigned: its assignee changed meanwhile."
    assert change(desk, "macro", chats, macro=take.pk) == sentence
    assert change(desk, "macro", chats, macro=take.pk) == sentence  # a repeat changes nothing
    assert change(desk, "macro", chats, macro=close.pk) == (
        "Macro applied to 2 chats. 1 not changed: the client wrote meanwhile."
    )
    assert [chat.assignee_id for chat in fresh(chats)] == [olga.pk, boris().pk, boris().pk]
    assert [status_of(chat) for chat in chats] == [Status.CLOSED, Status.NEW, Status.CLOSED]


def test_the_note_of_a_macro_mentions_people_in_each_chat(desk: Client, chats: list[Conversation]) -> None:
    olga = operator("olga", chats[0].chat_channel, first_name="Olga", last_name="Ivanova")
    macro = Macro.objects.create(name="Заметка", note_text="@Olga Ivanova, проверьте")
    for key in ("key-of-the-form", "key-of-the-form", "\0"):
        assert change(desk, "macro", chats[:2], macro=macro.pk, macro_key=key) == "Macro applied to 2 chats."

    assert ConversationNote.objects.count() == 4  # the repeat of a form adds none
    assert set(NoteMention.objects.values_list("user", "conversation")) == {(olga.pk, chat.pk) for chat in chats[:2]}


def test_a_macro_posted_again_runs_once_in_each_chat(desk: Client, chats: list[Conversation]) -> None:
    vip, other = (Macro.objects.create(name=name, add_tags=[name]) for name in ("vip", "опт"))
    key = "key-of-the-form"
    assert change(desk, "macro", chats[:2], macro=vip.pk, macro_key=key) == "Macro applied to 2 chats."
    Ticket.objects.filter(conversation=chats[0]).update(tags=[])  # by a colleague, before the lost answer is noticed

    assert change(desk, "macro", chats, macro=vip.pk, macro_key=key) == "Macro applied to 3 chats."
    assert change(desk, "macro", chats[:1], macro=other.pk, macro_key=key) == "Macro applied to 1 chat."

    tags = dict(Ticket.objects.values_list("conversation", "tags"))
    assert [tags[chat.pk] for chat in chats] == [["опт"], ["vip"], ["vip"]]
    assert ConversationActivity.objects.filter(kind="macro").count() == 4


# --- read, unread, pins --------------------------------------------------------------------------------------


def test_chats_are_marked_as_read_and_unread(desk: Client, channel: ApiChannel, chats: list[Conversation]) -> None:
    assert change(desk, "read", chats) == "3 chats marked as read."
    assert {chat.unread for chat in fresh(chats)} == {0}
    assert undo(desk) == "3 chats restored."
    assert {chat.unread for chat in fresh(chats)} == {1}
    client_writes(channel, "К0", "Ещё")  # not seen in its row
    assert change(desk, "read", chats) == "2 chats marked as read. 1 not changed: the client wrote meanwhile."
    assert change(desk, "unread", chats) == "2 chats marked as unread. 1 unchanged."
    assert [chat.unread for chat in fresh(chats)] == [2, 1, 1]
    assert undo(desk) == "2 chats restored."


def test_a_chat_stays_unread_where_it_is_open_until_it_is_opened(desk: Client, chats: list[Conversation]) -> None:
    chat = chats[0]
    page_html(desk, f"/chats/{chat.pk}/")

    def poll() -> dict[str, Any]:
        response = desk.get("/chats/updates/", {"chat": chat.pk, "list": "?"}, headers=SCRIPT)
        return dict(response.json())

    change(desk, "unread", fresh([chat]))
    assert "unread" not in poll() and "1 unread" in poll()["list"]["rows"]
    client_writes(chat.api_channel, "К0", "Ещё")
    assert "unread" not in poll()  # still marked
    assert fresh([chat])[0].unread == 2

    desk.post(f"/chats/{chat.pk}/seen/", headers=SCRIPT)  # opened again
    assert (fresh([chat])[0].unread, fresh([chat])[0].unread_marked_at) == (0, None)
    client_writes(chat.api_channel, "К0", "И ещё")
    assert poll()["unread"] == 1

    change(desk, "unread", fresh(chats[1:2]))
    boris_answers(chats[1])
    assert fresh(chats[1:2])[0].unread_marked_at is None


def test_reading_many_chats_reads_only_ones_own_mentions(desk: Client, chats: list[Conversation]) -> None:
    people = [boris(), operator("olga", chats[0].chat_channel)]
    note = ConversationNote.objects.create(conversation=chats[0], text="Посмотрите")
    for person in people:
        NoteMention.objects.create(note=note, conversation=chats[0], user=person)

    change(desk, "read", chats)

    assert [mention.user for mention in NoteMention.objects.filter(seen_at=None)] == people[1:]


def test_an_undo_of_unread_reads_nothing_new(desk: Client, channel: ApiChannel, chats: list[Conversation]) -> None:
    change(desk, "read", chats)
    change(desk, "unread", chats)
    client_writes(channel, "К0", "Ещё")
    note = ConversationNote.objects.create(conversation=chats[1], text="Посмотрите")
    NoteMention.objects.create(note=note, conversation=chats[1], user=boris())

    assert undo(desk) == "2 chats restored. 1 unchanged."
    assert [chat.unread for chat in fresh(chats)] == [2, 0, 0]
    assert NoteMention.objects.get().seen_at is None


def test_chats_above_the_limit_are_named(
    desk: Client, chats: list[Conversation], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "MAX_CHANGES", 2)
    reason = "1 not changed: At most 2 chats can be changed at once."
    for action in ("read", "close"):
        assert change(desk, action, fresh(chats)).endswith(reason)
    assert [chat.unread for chat in fresh(chats)] == [0, 0, 1]
    assert [status_of(chat) for chat in chats] == [Status.CLOSED, Status.CLOSED, Status.NEW]


# --- forms -----------------------------------------------------------------------------------------------------


def test_parts_of_an_action_have_one_result_and_one_undo(
    desk: Client, chats: list[Conversation], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "PART", 2)
    Ticket.objects.filter(conversation=chats[1]).update(tags=["vip"])

    first = post(desk, "tag", chats[:2], tag="vip").json()
    second = post(desk, "tag", chats[2:], tag="vip", earlier=first["earlier"]).json()
    other = post(desk, "untag", chats[:1], tag="x", earlier=first["earlier"]).json()

    assert second["sentence"] == "Tag added to 2 requests. 1 unchanged." and other["sentence"] == "1 unchanged."
    values = {"undo_token": second["undo_token"], "for_user": boris().pk}
    Ticket.objects.filter(conversation=chats[2]).update(tags=[])
    monkeypatch.setattr(changes, "PART", 1)
    part = desk.post("/chats/bulk/undo/", values | {"start": 0}, headers=SCRIPT).json()
    assert (part["sentence"], part["next"], part["total"]) == ("1 chat restored.", 1, 2)
    last = desk.post("/chats/bulk/undo/", values | {"start": 1, "earlier": part["earlier"]}, headers=SCRIPT).json()
    assert (last["sentence"], last["next"]) == ("1 chat restored. 1 unchanged.", None)


def test_the_limit_counts_the_chats_of_earlier_parts(
    desk: Client, chats: list[Conversation], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "MAX_CHANGES", 2)

    first = post(desk, "tag", chats[:2], tag="vip").json()
    second = post(desk, "tag", chats[2:], tag="vip", earlier=first["earlier"]).json()

    assert "At most 2 chats" in second["sentence"] and second["changed"] == 2


def test_a_form_of_another_user_changes_nothing(desk: Client, chats: list[Conversation]) -> None:
    olga = operator("olga", chats[0].chat_channel)
    answer = post(desk, "pin", chats, for_user=olga.pk)
    assert answer.status_code == 409 and not ChatPin.objects.exists()
    assert post(desk, "pin", chats, for_user="").status_code == 409
    assert post(desk, "pin", []).status_code == post(desk, "paint", chats).status_code == 400

    change(desk, "close", chats)
    hers = signed_in(Client(), olga)
    values = {"undo_token": desk.undo_token, "for_user": olga.pk}  # type: ignore[attr-defined]
    refused = hers.post("/chats/bulk/undo/", values, headers=SCRIPT)
    assert refused.status_code == 422 and "no longer" in refused.json()["sentence"]
    # A token of chats is none of requests.
    desk.post("/requests/undo/", values)
    assert {status_of(chat) for chat in chats} == {Status.CLOSED}


def test_the_menu_of_a_chat_works_without_scripts(desk: Client, chats: list[Conversation]) -> None:
    for_user, chat = boris().pk, chats[0]
    values = {"for_chat": chat.pk, "for_user": for_user}
    page = page_html(desk, f"/chats/{chat.pk}/?tab=mine")
    assert 'formaction="/chats/bulk/?tab=mine"' in page

    done = desk.post("/chats/bulk/?tab=mine", {"action": "unread", **values})
    assert done["Location"] == "/chats/?tab=mine"  # not the chat, which would be read again
    assert fresh([chat])[0].unread == 1


def test_most_actions_cost_the_same_for_few_and_many(desk: Client, channel: ApiChannel) -> None:
    def cost(action: str, chats: list[Conversation]) -> int:
        with CaptureQueriesContext(connection) as captured:
            assert post(desk, action, chats).status_code == 200
        return len(captured)

    few = [client_writes(channel, f"К{number}") for number in range(2)]
    many = [client_writes(channel, f"М{number}") for number in range(18)]
    for action in ("read", "unread", "pin", "unpin"):
        assert cost(action, fresh(few)) == cost(action, fresh(many)) <= 16


def test_the_choices_show_only_what_the_user_may_use(desk: Client, chats: list[Conversation]) -> None:
    other = ApiChannelFactory().default_chat_channel
    operator("stranger", other)
    operator("olga", chats[0].chat_channel)
    tickets.set_ticket_properties(Ticket.objects.get(conversation=chats[0]).pk, {"add_tags": ["опт"]})
    hidden = client_writes(ApiChannelFactory(), "Чужой")
    tickets.set_ticket_properties(Ticket.objects.get(conversation=hidden).pk, {"add_tags": ["тайна"]})

    page = page_html(desk, "/chats/bulk/choices/")

    assert "olga" in page.lower() and "stranger" not in page.lower()
    assert "опт" in page and "тайна" not in page
