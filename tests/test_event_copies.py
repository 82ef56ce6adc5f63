"""Which API channel delivers a message, which gets a copy, and how the payload marks copies."""

import json
from typing import Any
from urllib.parse import parse_qs

import pytest
from django.test import Client
from django.urls import reverse

from bridge.conversations import receiving, tickets
from bridge.fanout import subscribers
from bridge.models import Conversation, Delivery, Ticket
from bridge.outbox import dispatcher
from bridge.relay import reply_submission
from channels_setup.admin import save_warnings
from channels_setup.handover import example_event
from channels_setup.models import ApiChannel, ChatChannel
from channels_setup.providers import messengers
from channels_setup.providers.base import ContactInfo, MessageReceived
from tests.factories import ApiChannelFactory, ChatChannelFactory, boris, vera
from tests.pages import page_html, signed_in
from tests.receiver import Receiver

pytestmark = pytest.mark.django_db

KINDS = sorted(messengers())
TRACKS = [track for track in ApiChannel.EVENT_KINDS if track != "rating"]  # the desk asks for no ratings
HOOK = "http://127.0.0.1:9/hook"


def watching_channel(kind: str, chat_channel: ChatChannel, *, tracks: list[str], **more: Any) -> ApiChannel:
    flags = {f"track_{track}": track in tracks for track in ApiChannel.EVENT_KINDS}
    made: Any = ApiChannelFactory(kind=kind, watched=chat_channel, secret=True, redirect_url=HOOK, **flags, **more)
    channel: ApiChannel = made
    return channel


def create_story(owner: ApiChannel, chat_channel: ChatChannel) -> None:
    """Create a story: a client writes, is answered, the request is closed, and the same happens again."""
    anna = ContactInfo(external_id="anna", name="Анна")
    for number, words in enumerate(("Здравствуйте", "Вы тут?")):
        fact = MessageReceived(contact=anna, text=words, external_id=f"m{number}")
        incoming = receiving.IncomingMessage(fact=fact, chat_channel=chat_channel)
        [received] = receiving.receive_messages(owner, [incoming])
        result = reply_submission.submit_reply(
            conversation_id=received.conversation.pk, text=f"Ответ {number}", author=vera()
        )
        assert result.message is not None
        ticket = tickets.get_current_ticket(received.conversation)
        assert ticket is not None
        tickets.set_ticket_status(ticket.pk, status=Ticket.Status.CLOSED)


def events_of(channel: ApiChannel) -> list[dict[str, Any]]:
    rows = Delivery.objects.filter(api_channel=channel, kind=Delivery.Kind.EVENT).order_by("pk")
    return [row.payload["event"] for row in rows]


def is_reply(event: dict[str, Any]) -> bool:
    return event.get("from") == "user" or event.get("comment", {}).get("from") == "user"


@pytest.mark.parametrize("track", TRACKS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("copies", [False, True], ids=["", "copies"])
def test_only_the_owner_delivers_and_other_events_are_marked_as_copies(kind: str, track: str, copies: bool) -> None:
    chat_channel = ChatChannelFactory()
    owner = watching_channel(kind, chat_channel, tracks=[track], copy_replies=copies)
    watcher = watching_channel(kind, chat_channel, tracks=[track], copy_replies=copies)
    create_story(owner, chat_channel)

    messages = Delivery.objects.filter(kind=Delivery.Kind.MESSAGE)
    assert [row.api_channel for row in messages] == [owner, owner]
    assert all(row.payload["event"]["delivery"] is True for row in messages)
    assert all(row.payload["event"]["copy"] is False for row in messages)
    for channel, is_copy in ((owner, False), (watcher, True)):
        assert [(event["delivery"], event["copy"]) for event in events_of(channel)] == [
            (False, is_copy) for _event in events_of(channel)
        ]
    replies = [event for event in events_of(watcher) if is_reply(event)]
    if messengers()[kind].delivers_copies and not copies:
        assert replies == []
    else:
        assert len(replies) == {"message": 2, "comment": 2}.get(track, 0)
    assert len([event for event in events_of(watcher) if not is_reply(event)]) == {
        "message": 2,
        "new_chat": 1,
        "resumed": 1,
        "new_ticket": 2,
        "change": 2,
        "comment": 2,
    }.get(track, 0)


def test_a_channel_with_messages_at_the_redirect_url_gets_no_copy() -> None:
    """Such a provider receives messages and events at one URL; it declares so itself."""
    for kind, provider in messengers().items():
        assert provider.delivers_copies is provider.needs_redirect_url, kind


@pytest.mark.parametrize("as_json", [True, False], ids=["json", "form"])
def test_copy_markers_are_in_the_payload(receiver: Receiver, as_json: bool) -> None:
    chat_channel = ChatChannelFactory()
    owner = watching_channel("acebot", chat_channel, tracks=[], send_json=as_json)
    watcher = watching_channel("acebot", chat_channel, tracks=["message"], send_json=as_json, copy_replies=True)
    for channel, path in ((owner, "/owner"), (watcher, "/watcher")):
        ApiChannel.objects.filter(pk=channel.pk).update(redirect_url=receiver.url(path))
    create_story(ApiChannel.objects.get(pk=owner.pk), chat_channel)
    while dispatcher.send_due_deliveries():
        pass

    markers: dict[tuple[str, str], set[tuple[Any, Any]]] = {}
    for request in receiver.requests:
        body = request.json if as_json else {k: v[0] for k, v in parse_qs(request.body.decode()).items()}
        markers.setdefault((request.path, body["from"]), set()).add((body["delivery"], body["copy"]))
    yes, no = (True, False) if as_json else ("1", "0")
    assert markers == {
        ("/owner", "user"): {(yes, no)},
        ("/watcher", "client"): {(no, yes)},
        ("/watcher", "user"): {(no, yes)},
    }


def test_a_request_without_an_opening_message_is_marked_too() -> None:
    chat_channel = ChatChannelFactory()
    owner = watching_channel("acebot", chat_channel, tracks=["new_ticket"])
    watcher = watching_channel("acebot", chat_channel, tracks=["new_ticket"])
    create_story(owner, chat_channel)

    opened = subscribers.build_new_ticket_deliveries(Ticket.objects.latest("pk"))

    assert {(row.api_channel_id, row.payload["event"]["copy"]) for row in opened} == {
        (owner.pk, False),
        (watcher.pk, True),
    }


def test_the_handover_page_shows_a_message_to_deliver(channel: ApiChannel) -> None:
    chat_channel = channel.default_chat_channel
    assert chat_channel is not None
    event = example_event(channel, chat_channel)

    assert (event["from"], event["delivery"], event["copy"]) == ("user", True, False)
    assert json.dumps(event)


# --- the form --------------------------------------------------------------------------------------------

ADD = "admin:channels_setup_apichannel_add"


@pytest.fixture
def admin(client: Client, in_english: None) -> Client:
    return signed_in(client, vera())


def initial(admin: Client) -> dict[str, Any]:
    form = admin.get(reverse(ADD)).context["adminform"].form
    return {name: form.get_initial_for_field(form.fields[name], name) for name in form.fields}


def checked_values(values: dict[str, Any]) -> list[str]:
    return [name for name in values if name.startswith("track_") and values[name]]


def test_a_new_channel_preselects_the_only_chat_channel_and_events(admin: Client) -> None:
    only = ChatChannelFactory()

    values = initial(admin)

    assert values["watched"] == [only.pk]
    assert checked_values(values) == ["track_new_chat", "track_message", "track_resumed"]


@pytest.mark.parametrize("is_taken", [False, True], ids=["two", "a taken one"])
def test_with_several_chat_channels_nothing_is_preselected(admin: Client, is_taken: bool) -> None:
    chat_channel = ChatChannelFactory(name="Магазин")
    if is_taken:
        ApiChannelFactory(name="Первый", watched=chat_channel)
    else:
        ChatChannelFactory(kind="usedesk")

    values = initial(admin)

    assert not values.get("watched")
    assert checked_values(values) == []


def test_the_form_names_channels_that_already_watch_a_chat_channel(admin: Client) -> None:
    chat_channel = ChatChannelFactory(name="Магазин")
    first = ApiChannelFactory(name="Первый", watched=chat_channel)

    assert "already watched by “Первый”" in admin.get(reverse(ADD)).content.decode()
    own_page = admin.get(reverse("admin:channels_setup_apichannel_change", args=[first.pk])).content.decode()
    assert "already watched" not in own_page
    ApiChannelFactory(name="Второй", watched=chat_channel)
    own_page = admin.get(reverse("admin:channels_setup_apichannel_change", args=[first.pk])).content.decode()
    assert "already watched by “Второй”" in own_page


def form_values(chat_channel: ChatChannel, **changed: Any) -> dict[str, Any]:
    values = {"name": "Второй", "kind": "acebot", "redirect_url": "", "send_json": "on", "send_utf8": "on"}
    return values | {"on_unknown": "resend", "watched": [chat_channel.pk]} | changed


def test_saving_warns_about_a_chat_channel_with_another_api_channel(admin: Client) -> None:
    chat_channel = ChatChannelFactory(name="Магазин")
    ApiChannelFactory(name="Первый", watched=chat_channel)

    page = admin.post(reverse(ADD), form_values(chat_channel), follow=True).content.decode()

    assert "“Магазин” is also watched by “Первый”." in page
    second = ApiChannel.objects.get(name="Второй")
    assert second.tracked == []
    change = reverse("admin:channels_setup_apichannel_change", args=[second.pk])
    again = admin.post(change, form_values(chat_channel) | {"copy_replies": "on"}, follow=True).content.decode()
    assert "“Магазин” is also watched by “Первый”." in again
    second.refresh_from_db()
    assert second.copy_replies is True


def test_saving_warns_about_a_name_in_use(admin: Client) -> None:
    first: Any = ApiChannelFactory(name="WhatsApp")
    page = admin.post(reverse(ADD), form_values(ChatChannelFactory(), name="whatsapp"), follow=True).content.decode()
    assert f"(number {first.pk})" in page

    shop: Any = ChatChannelFactory(name="Магазин")
    values = {"name": "Магазин", "kind": "desk", "company_id": "1"}
    page = admin.post(reverse("admin:channels_setup_chatchannel_add"), values, follow=True).content.decode()
    assert f"(number {shop.pk})" in page


def test_a_single_channel_gets_no_warning(channel: ApiChannel) -> None:
    chat_channel = channel.default_chat_channel
    assert chat_channel is not None

    assert save_warnings.api_channel_warnings(channel) == save_warnings.chat_channel_warnings(chat_channel) == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_setting_is_shown_where_copies_are_suppressed(admin: Client, kind: str) -> None:
    channel: Any = ApiChannelFactory(kind=kind)

    page = admin.get(reverse("admin:channels_setup_apichannel_change", args=[channel.pk])).content.decode()

    assert ('name="copy_replies"' in page) is messengers()[kind].delivers_copies
    assert 'name="copy_replies"' not in page_html(admin, reverse(ADD))


def test_a_reply_goes_through_the_channel_that_the_client_wrote_to() -> None:
    chat_channel = ChatChannelFactory()
    first, second = (watching_channel("acebot", chat_channel, tracks=["message"]) for _n in range(2))
    boris(chat_channel)
    create_story(second, chat_channel)

    assert Conversation.objects.get().api_channel == second
    assert not any(is_reply(event) for event in events_of(first))
