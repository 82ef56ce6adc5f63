"""Notes in a thread: who sees them, mentions, editing with a trace, and that nothing sends them anywhere."""

from typing import Any

import pytest
from django.test import Client

from bridge.conversations import chat_notes
from bridge.desk.live import notifications
from bridge.desk.thread.chat_note_view import render_note
from bridge.models import Conversation, ConversationNote, Delivery, Message, NoteMention, Notification
from channels_setup.models import ApiChannel
from tests.factories import boris, operator, vera
from tests.pages import SCRIPT, page_html, signed_in
from tests.scenarios.sending import client_writes

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("in_english")]


@pytest.fixture
def chat(channel: ApiChannel) -> Conversation:
    return client_writes(channel, "Анна", "Где мой заказ?")


def make_olga(chat: Conversation) -> Any:
    return operator("olga", chat.chat_channel, first_name="Olga", last_name="Ivanova")


def add(desk: Client, chat: Conversation, text: str, **values: Any) -> Any:
    return desk.post(f"/chats/{chat.pk}/notes/", {"note": text, **values}, headers=SCRIPT)


def test_a_note_is_in_the_thread_and_nowhere_else(desk: Client, chat: Conversation, channel: ApiChannel) -> None:
    olga = make_olga(chat)
    operator("stranger", first_name="Sly", last_name="Stranger")
    vera()  # an admin sees all chats
    before = (Delivery.objects.count(), Message.objects.count())

    answer = add(desk, chat, "Ask @Olga Ivanova, not @Sly Stranger <b>", note_key="key-of-note-1")
    again = add(desk, chat, "Ask @Olga Ivanova, not @Sly Stranger <b>", note_key="key-of-note-1")
    after = (Delivery.objects.count(), Message.objects.count())
    client_writes(channel, "Анна", "Алло?")

    assert answer.status_code == again.status_code == 200
    note = ConversationNote.objects.get()
    assert note.text == f"Ask @[{olga.pk}], not @Sly Stranger <b>" and note.author == boris()
    assert after == before
    html = page_html(desk, f"/chats/{chat.pk}/")
    thread = html[html.index('id="messages"') : html.index('id="sending"')]
    assert thread.index("Где мой заказ?") < thread.index("Internal note") < thread.index("Алло?")
    assert '<span class="mention">@Olga Ivanova</span>, not @Sly Stranger &lt;b&gt;' in thread
    assert [row.user for row in NoteMention.objects.all()] == [olga]
    sent = Notification.objects.get(kind="mentioned")
    assert sent.user == olga and sent.conversation == chat and "Ask @Olga Ivanova" in sent.text
    people = {row["user"] for row in desk.get(f"/chats/{chat.pk}/people/").json()["people"]}
    assert people >= {"olga", "vera"} and not people & {"boris", "stranger"}  # nobody mentions themselves


def test_the_author_edits_and_deletes_and_a_trace_stays(desk: Client, chat: Conversation) -> None:
    olga, lena = make_olga(chat), operator("lena", chat.chat_channel, first_name="Lena", last_name="Petrova")
    add(desk, chat, "Code 1234, @Olga Ivanova")
    note = ConversationNote.objects.get()
    others = signed_in(Client(), lena)
    address = f"/chats/{chat.pk}/notes/{note.pk}/"

    assert others.post(f"{address}edit/", {"text": "?"}, headers=SCRIPT).status_code == 422
    assert others.post(f"{address}delete/", headers=SCRIPT).status_code == 422
    assert desk.post(f"{address}edit/", {"text": " "}, headers=SCRIPT).status_code == 422
    assert desk.post(f"{address}edit/", {"text": "@Lena Petrova and @Olga Ivanova"}, headers=SCRIPT).status_code == 200

    note.refresh_from_db()
    assert note.text == f"@[{lena.pk}] and @[{olga.pk}]" and note.edited_at
    assert [version["text"] for version in note.previous] == [f"Code 1234, @[{olga.pk}]"]
    mentioned = Notification.objects.filter(kind="mentioned").order_by("pk").values_list("user", flat=True)
    assert list(mentioned) == [olga.pk, lena.pk]  # each once
    assert not Notification.objects.filter(text__contains="1234").exists()  # the words change with the note
    html = page_html(others, f"/chats/{chat.pk}/")
    assert "1 earlier version" in html and "mention me" in html

    assert desk.post(f"{address}delete/", headers=SCRIPT).status_code == 204
    note.refresh_from_db()
    assert (note.text, note.previous) == ("", []) and not NoteMention.objects.exists()
    assert not Notification.objects.filter(kind="mentioned").exists()
    html = page_html(others, f"/chats/{chat.pk}/")
    assert "Note deleted" in html and "1234" not in html
    assert desk.post(f"{address}edit/", {"text": "?"}, headers=SCRIPT).status_code == 422


def test_mentions_of_a_chat_are_unread_until_it_is_seen(desk: Client, chat: Conversation) -> None:
    olga = make_olga(chat)
    add(desk, chat, "@Olga Ivanova, look")
    assert NoteMention.objects.filter(seen_at=None).count() == 1

    page_html(signed_in(Client(), olga), f"/chats/{chat.pk}/")

    assert not NoteMention.objects.filter(seen_at=None).exists()


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("@Anna Lee and @ANNA", "@[2] and @[1]"),
        ("@Annabel is nobody, mail@Anna", "@Annabel is nobody, mail@Anna"),
        ("@Anna's turn", "@[1]'s turn"),
        ("@[1] by hand", "@ [1] by hand"),
        ("@Max (max2), @Max (max)", "@[4], @[3]"),
    ],
)
def test_the_longest_name_is_mentioned(text: str, stored: str) -> None:
    handles = {1: "Anna", 2: "Anna Lee", 3: "Max (max)", 4: "Max (max2)"}

    assert chat_notes.encode_mentions(text, handles) == stored
    if "by hand" not in text:
        assert chat_notes.decode_mentions(stored, handles).casefold() == text.casefold()


def test_markup_of_a_note_cannot_become_html() -> None:
    html = render_note("@[1] <script>alert(1)</script> *bold*", {1: "<img src=x>"})

    assert "<script>" not in html and "<img" not in html and "&lt;img src=x&gt;" in html


def test_other_words_with_the_key_of_a_stored_note_are_another_note(desk: Client, chat: Conversation) -> None:
    for text in ("Call him", "Call her", "Call her"):  # a second tab has the form of the first
        assert add(desk, chat, text, note_key="key-of-note-1").status_code == 200
    assert list(ConversationNote.objects.order_by("pk").values_list("text", flat=True)) == ["Call him", "Call her"]


def test_a_web_address_in_a_note_stays_a_link() -> None:
    text = chat_notes.encode_mentions("https://t.me/@Olga and (@Olga)", {5: "Olga"})
    assert text == "https://t.me/@Olga and (@[5])"
    html = render_note("https://t.me/@[5]/ @[5]", {5: "Olga"})  # as stored before
    assert 'href="https://t.me/@[5]/"' in html and html.endswith('<span class="mention">@Olga</span>')


def test_a_chat_of_another_channel_takes_no_note(chat: Conversation) -> None:
    stranger = signed_in(Client(), operator("stranger"))

    assert add(stranger, chat, "?").status_code == 404
    assert stranger.get(f"/chats/{chat.pk}/people/").status_code == 404


def test_the_tab_of_mentions_lists_their_chats_and_counts_the_unread(desk: Client, chat: Conversation) -> None:
    olga = make_olga(chat)
    add(desk, chat, "@Olga Ivanova, look")
    hers = signed_in(Client(), olga)

    html = page_html(hers, "/chats/?tab=mentioned")
    assert 'Mentions&nbsp;<span class="number">1</span>' in html and f'data-chat="{chat.pk}"' in html
    assert f'data-chat="{chat.pk}"' not in page_html(desk, "/chats/?tab=mentioned")
    page_html(hers, f"/chats/{chat.pk}/")
    html = page_html(hers, "/chats/?tab=mentioned&sort=newest")
    assert "Mentions</a>" in html and f'data-chat="{chat.pk}"' in html


def test_words_of_an_unknown_note_are_not_shown(chat: Conversation) -> None:
    """The release before does not store the note, so its words would outlive it."""
    row = Notification(kind="mentioned", user=make_olga(chat), conversation=chat, text="Code 1234")

    assert notifications.describe(row)["text"] == ""
