"""Merging clients in the desk: permissions, the preview, and the undo."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from bridge.merging import rules
from bridge.merging.merge import merge_contacts
from bridge.models import Contact, ContactMerge, Conversation, Message
from bridge.relay import reply_submission
from channels_setup.models import ApiChannel
from tests.factories import (
    ApiChannelFactory,
    ChatChannelFactory,
    ConversationFactory,
    MessageFactory,
    boris,
    vera,
)
from tests.pages import SCRIPT, page_html, signed_in
from tests.scenarios.merging import ANNA, ANYA, chat_of, contact, writes

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("in_english")]


@pytest.fixture
def chat(channel: ApiChannel) -> Conversation:
    writes(channel, ANYA, "Hallo", hours=2)
    return writes(channel, ANNA, "Здравствуйте", hours=1).conversation


def may_merge(*chat_channels: Any) -> Any:
    user = boris(*chat_channels)
    user.user_permissions.add(Permission.objects.get(codename="merge_contact"))
    return user


def merge_url(chat: Conversation) -> str:
    return f"/chats/{chat.pk}/client/merge/"


def test_two_clients_are_found_previewed_merged_and_separated_again(client: Client, chat: Conversation) -> None:
    desk = signed_in(client, may_merge(chat.chat_channel))
    Contact.objects.filter(external_id=ANYA).update(email="anna@example.com", tags=["опт"])
    Contact.objects.filter(external_id=ANNA).update(email="Anna@example.com")
    other, old = contact(ANYA), chat_of(ANYA).pk
    page = desk.get(f"/chats/{chat.pk}/").content.decode()
    assert merge_url(chat) in page

    choice = desk.get(merge_url(chat)).content.decode()
    found = desk.get(merge_url(chat), {"q": "4915112"}).content.decode()
    preview = desk.get(merge_url(chat), {"with": other.pk}).content.decode()
    unsure = desk.post(merge_url(chat), {"with": other.pk})
    merged = desk.post(merge_url(chat), {"with": other.pk, "sure": other.pk})

    assert "Possible duplicates" in choice and f"?with={other.pk}" in choice
    assert f"?with={other.pk}" in found
    for words in ("Both have an open request", "Both windows are open", "1 message", "опт"):
        assert words in preview, words
    assert unsure.status_code == 422 and "Select the checkbox first" in unsure.content.decode()
    assert merged.status_code == 302 and merged["Location"].startswith(f"/chats/{chat.pk}/")
    html = desk.get(f"/chats/{old}/").content.decode()  # the old URL redirects
    for words in ("Hallo", "Здравствуйте", "From +49 1511 2345678", "Replies go to +7 921 555-01-04", "Undo the merge"):
        assert words in html, words

    made = ContactMerge.objects.get()
    undone = desk.post(f"/chats/{chat.pk}/client/merges/{made.pk}/undo/")
    assert undone.status_code == 302
    assert Message.objects.get(text="Hallo").conversation_id == old
    assert desk.get(f"/chats/{old}/").status_code == 200


def test_the_other_client_can_be_the_one_that_stays(client: Client, chat: Conversation) -> None:
    desk = signed_in(client, may_merge(chat.chat_channel))
    other = contact(ANYA)

    answer = desk.post(merge_url(chat), {"with": other.pk, "sure": other.pk, "keep": "other"})

    assert answer["Location"].startswith(f"/chats/{Conversation.objects.get().pk}/")
    assert Conversation.objects.get().contact == other


def test_a_user_without_the_permission_or_access_cannot_merge(client: Client, chat: Conversation) -> None:
    other = contact(ANYA)
    client.force_login(boris(chat.chat_channel))
    assert client.get(merge_url(chat)).status_code == 403
    assert merge_url(chat) not in page_html(client, f"/chats/{chat.pk}/")

    hidden = ChatChannelFactory()
    chat.api_channel.watched.add(hidden)
    writes(chat.api_channel, ANYA, "В другом канале", chat_channel=hidden)
    desk = signed_in(client, may_merge(chat.chat_channel))
    answer = desk.post(merge_url(chat), {"with": other.pk, "sure": other.pk})
    assert answer.status_code == 422 and "ask an admin" in answer.content.decode().lower()
    unseen = writes(ApiChannelFactory(), "79990001122", "Чужой").conversation.contact_id
    assert desk.get(merge_url(chat), {"with": unseen}).status_code == 404
    for odd in ("", "x", "0", "9" * 30):
        assert desk.get(merge_url(chat), {"with": odd}).status_code == 404
    assert not ContactMerge.objects.exists()

    made = merge_contacts(other.pk, chat.contact_id, by=vera())
    plain = signed_in(client, vera())
    boris().user_permissions.clear()
    client.force_login(boris())
    refused = client.post(f"/chats/{chat.pk}/client/merges/{made.pk}/undo/", headers=SCRIPT)
    assert refused.status_code == 422 and "permission" in refused.json()["sentence"]
    assert plain is client


def test_an_open_page_of_the_merged_chat_keeps_working(client: Client, chat: Conversation) -> None:
    """Text typed in the old tab goes to the same person, in the remaining chat."""
    old = chat_of(ANYA)
    desk = signed_in(client, boris(chat.chat_channel))
    merge_contacts(contact(ANYA).pk, chat.contact_id, by=vera())

    sent = desk.post(f"/chats/{old.pk}/send/", {"text": "Ответ", "key": "abcdefgh1234"}, headers=SCRIPT)
    again = desk.post(f"/chats/{old.pk}/send/", {"text": "Ответ", "key": "abcdefgh1234"}, headers=SCRIPT)
    news = desk.get(f"/chats/updates/?chat={old.pk}")

    assert sent.status_code == again.status_code == 200 and sent.json()["sent"]
    assert [row.conversation_id for row in Message.objects.filter(direction="outbound")] == [chat.pk]
    assert news.status_code == 200 and "Hallo" in news.json()["thread"]["messages"]


def test_a_merged_chat_runs_no_query_per_message(
    client: Client, chat: Conversation, django_assert_max_num_queries: Any
) -> None:
    desk = signed_in(client, boris(chat.chat_channel))
    merge_contacts(contact(ANYA).pk, chat.contact_id, by=vera())
    for number in range(20):
        writes(chat.api_channel, ANYA, f"Слово {number}")
    reply_submission.submit_reply(conversation_id=chat.pk, text="Ответ", author=boris())

    with django_assert_max_num_queries(56):
        html = desk.get(f"/chats/{chat.pk}/").content.decode()

    assert html.count("From +49 1511 2345678") == 21 and "To +49 1511 2345678" in html


@pytest.mark.parametrize(
    ("one", "other", "is_suggested"),
    [
        ({"phone": "+5531987654321"}, {"phone": "55 31 8765-4321"}, True),
        ({"phone": "89215550199"}, {"phone": "+7 921 555-01-99"}, True),
        ({"external_id": "5215512345678"}, {"phone": "+52 55 1234 5678"}, True),
        ({"email": "anna@example.com"}, {"email": "Anna@Example.com"}, True),
        ({"phone": "+79215550199"}, {"phone": "+79215550198"}, False),
        ({"phone": ""}, {"phone": ""}, False),
        ({"email": ""}, {"email": ""}, False),
    ],
)
def test_a_likely_duplicate_is_suggested(
    chat: Conversation, one: dict[str, str], other: dict[str, str], is_suggested: bool
) -> None:
    anna, anya = contact(ANNA), contact(ANYA)
    for person, changes in ((anna, one), (anya, other)):
        Contact.objects.filter(pk=person.pk).update(**{"phone": "", **changes})
    anna.refresh_from_db()

    found = rules.suggest_matches(anna, visible_chats=Conversation.objects.all())

    assert found == ([anya] if is_suggested else [])


def test_the_new_number_of_a_client_is_suggested_in_both_chats(chat: Conversation) -> None:
    anna, anya = contact(ANNA), contact(ANYA)
    Contact.objects.filter(pk=anya.pk).update(moved_to=anna)
    anya.refresh_from_db()

    assert rules.suggest_matches(anna, visible_chats=Conversation.objects.all()) == [anya]
    assert rules.suggest_matches(anya, visible_chats=Conversation.objects.all()) == [anna]


def test_the_preview_reveals_nothing_about_hidden_chats(client: Client, chat: Conversation) -> None:
    desk = signed_in(client, may_merge(chat.chat_channel))
    other, hidden = contact(ANYA), ChatChannelFactory(name="Hidden shop")
    out_of_sight = ConversationFactory(contact=other, api_channel=other.api_channel, chat_channel=hidden)
    MessageFactory.create_batch(3, conversation=out_of_sight)

    page = desk.get(merge_url(chat), {"with": other.pk}).content.decode()

    assert "channels that you cannot access" in page
    assert "Hidden shop" not in page and "3 messages" not in page
