"""Webhooks posted to another channel's address than their number's: routed, set aside, or processed later."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone, translation

from bridge import settings_cache, tasks
from bridge.inbox import channel_settings, processing
from bridge.models import Alert, Conversation, Message, StrayStatus, WebhookEvent
from channels_setup import account_settings
from channels_setup.models import ApiChannel, ChannelState
from templates_registry.models import Template
from tests.cloud_accounts import APP_SECRET, cloud_channel, proof
from tests.cloud_corpus import PHONE_NUMBER_ID, WABA_ID
from tests.factories import ApiChannelFactory, TemplateFactory, vera
from tests.pages import signed_in

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("in_english")]

B_NUMBER, B_WABA, UNKNOWN = "109000000000803", "104000000000809", "109000000000899"
ANNA = "447700900101"
OTHER_SECRET = "0" * 32


@pytest.fixture
def first() -> ApiChannel:
    return cloud_channel(name="First")


@pytest.fixture
def second() -> ApiChannel:
    return cloud_channel(name="Second", settings={"phone_number_id": B_NUMBER})


def change(field: str, value: dict[str, Any], *, number: str = "", account: str = WABA_ID) -> dict[str, Any]:
    if number:
        value = {"messaging_product": "whatsapp", "metadata": {"phone_number_id": number}} | value
    return {"id": account, "time": 1795336017, "changes": [{"field": field, "value": value}]}


def text(body: str, *, number: str, wamid: str = "", **more: Any) -> dict[str, Any]:
    item = {"from": ANNA, "id": wamid or f"wamid.{body}", "timestamp": now(), "type": "text", "text": {"body": body}}
    return change("messages", {"messages": [item | more]}, number=number)


def now() -> str:
    return str(int(timezone.now().timestamp()))


def post(client: Client, channel: ApiChannel, *entries: dict[str, Any]) -> None:
    body = json.dumps({"object": "whatsapp_business_account", "entry": list(entries)}).encode()
    answer = client.post(channel.webhook_path, body, content_type="application/json", headers=proof(body))
    assert answer.status_code == 200


def texts(channel: ApiChannel) -> list[str]:
    return list(Message.objects.filter(api_channel=channel).order_by("pk").values_list("text", flat=True))


def unrouted() -> WebhookEvent:
    return WebhookEvent.objects.get(state=WebhookEvent.State.UNROUTED)


def alert() -> Alert:
    return Alert.objects.get(kind=Alert.Kind.UNROUTED, settled_at=None)


# --- to the right channel --------------------------------------------------------------------------------


def test_a_message_for_another_number_goes_to_its_channel(
    client: Client, first: ApiChannel, second: ApiChannel
) -> None:
    post(client, first, text("Привет", number=B_NUMBER))
    processing.process_inbox()

    message = Message.objects.get()
    assert (message.api_channel, message.text) == (second, "Привет")
    assert message.conversation.chat_channel == second.default_chat_channel
    received, routed = WebhookEvent.objects.order_by("pk")
    assert (received.state, received.note, routed.state, routed.api_channel) == (
        "processed",
        "routed",
        "processed",
        second,
    )
    assert "Second" in received.error
    assert (routed.routed_from, routed.received_at) == (received.pk, received.received_at)
    second.refresh_from_db()
    first.refresh_from_db()
    assert second.first_inbound_at and not first.first_inbound_at
    assert not Alert.objects.exists()


def test_the_address_of_an_archived_channel_serves_other_numbers(
    client: Client, first: ApiChannel, second: ApiChannel
) -> None:
    post(client, first, text("before", number=PHONE_NUMBER_ID))
    first.archive()
    post(client, first, text("own", number=PHONE_NUMBER_ID), text("Привет", number=B_NUMBER))
    post(client, first, text("own again", number=PHONE_NUMBER_ID))
    with translation.override("en"):
        processing.process_inbox()

    assert (texts(first), texts(second)) == (["before"], ["Привет"])
    assert set(WebhookEvent.objects.values_list("state", flat=True)) == {"processed"}
    remark = WebhookEvent.objects.filter(api_channel=first).latest("pk").error
    assert remark == "The channel is archived, so this event was not processed."


def test_a_mixed_batch_is_split_and_each_channel_keeps_its_order(
    client: Client, first: ApiChannel, second: ApiChannel
) -> None:
    mixed = [text(f"{n}", number=(PHONE_NUMBER_ID, B_NUMBER, UNKNOWN)[n % 3]) for n in range(9)]
    post(client, first, *mixed)
    post(client, second, *[text(f"later {n}", number=(B_NUMBER, PHONE_NUMBER_ID)[n % 2]) for n in range(4)])
    processing.process_inbox()

    assert texts(first) == ["0", "3", "6", "later 1", "later 3"]
    assert sorted(texts(second)) == ["1", "4", "7", "later 0", "later 2"]
    assert bytes(unrouted().body).count(b'"from"') == 3


def test_items_of_unknown_numbers_are_set_aside_per_number(client: Client, first: ApiChannel) -> None:
    post(client, first, *[text(f"{n}", number=(B_NUMBER, UNKNOWN)[n % 2]) for n in range(6)])
    processing.process_inbox()

    aside = WebhookEvent.objects.filter(state="unrouted").order_by("pk")
    assert [bytes(event.body).count(b'"from"') for event in aside] == [3, 3]
    assert alert().details["ids"] == f"{B_NUMBER}, {UNKNOWN}"


def _status(wamid: str) -> dict[str, Any]:
    return {"statuses": [{"id": wamid, "status": "delivered", "timestamp": now(), "recipient_id": ANNA}]}


def _echo(wamid: str) -> dict[str, Any]:
    return {
        "message_echoes": [
            {"from": "15550100803", "to": ANNA, "id": wamid, "timestamp": now(), "type": "text", "text": {"body": "Да"}}
        ]
    }


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("messages", _status("wamid.s"), lambda channel: StrayStatus.objects.get().api_channel == channel),
        ("smb_message_echoes", _echo("wamid.e"), lambda channel: texts(channel) == ["Да"]),
        (
            "calls",
            {"calls": [{"id": "c1", "from": ANNA, "direction": "USER_INITIATED", "event": "connect"}]},
            lambda channel: Message.objects.get().api_channel == channel,
        ),
        (
            "messages",
            {"errors": [{"code": 131000, "title": "Something went wrong"}]},
            lambda channel: channel.provider_status["updates"][0]["event"] == "131000",
        ),
    ],
    ids=["status", "echo", "call", "trouble"],
)
def test_every_field_with_a_number_is_routed_by_it(
    client: Client, first: ApiChannel, second: ApiChannel, field: str, value: dict[str, Any], expected: Any
) -> None:
    post(client, first, change(field, value, number=B_NUMBER))
    processing.process_inbox()

    second.refresh_from_db()
    assert expected(second)
    first.refresh_from_db()
    assert "updates" not in first.provider_status


@pytest.mark.parametrize("posted_to", [0, 1])
def test_account_updates_reach_all_numbers_of_the_account_once(
    client: Client, first: ApiChannel, second: ApiChannel, posted_to: int
) -> None:
    elsewhere = cloud_channel(name="Elsewhere", settings={"phone_number_id": "1", "waba_id": B_WABA})
    for channel in (first, second, elsewhere):
        TemplateFactory(api_channel=channel, name="hello", external_id="77")
    paused = {
        "event": "PAUSED",
        "message_template_id": 77,
        "message_template_name": "hello",
        "message_template_language": "ru",
    }
    post(
        client,
        (first, second)[posted_to],
        change("account_update", {"event": "ACCOUNT_VIOLATION", "violation_info": {"violation_type": "SPAM"}}),
        change("message_template_status_update", paused),
    )
    processing.process_inbox()

    assert WebhookEvent.objects.count() == 2
    for channel in (first, second, elsewhere):
        channel.refresh_from_db()
    assert [len(channel.provider_status.get("updates", [])) for channel in (first, second, elsewhere)] == [1, 1, 0]
    statuses = dict(Template.objects.values_list("api_channel", "status"))
    assert [statuses[channel.pk] for channel in (first, second, elsewhere)] == ["paused", "paused", "approved"]
    assert not Alert.objects.filter(kind=Alert.Kind.UNROUTED).exists()


def test_updates_of_another_account_reach_only_that_account(client: Client, first: ApiChannel) -> None:
    elsewhere = cloud_channel(name="Elsewhere", settings={"phone_number_id": "1", "waba_id": B_WABA})
    post(client, first, change("account_update", {"event": "ACCOUNT_VIOLATION"}, account=B_WABA))
    processing.process_inbox()

    first.refresh_from_db()
    elsewhere.refresh_from_db()
    assert (len(first.provider_status.get("updates", [])), len(elsewhere.provider_status["updates"])) == (0, 1)


@pytest.mark.parametrize("displayed", ["15550100803", "+1 555-010-0803"])
def test_number_updates_reach_the_channel_with_this_number(
    client: Client, first: ApiChannel, second: ApiChannel, displayed: str
) -> None:
    first.update_provider_status(number="+1 555-010-0802")
    second.update_provider_status(number="+1 555-010-0803")
    post(client, first, change("phone_number_quality_update", {"display_phone_number": displayed, "event": "FLAGGED"}))
    processing.process_inbox()

    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.provider_status.get("quality"), second.provider_status.get("quality")) == (None, "RED")


def test_a_routed_event_is_not_routed_again(client: Client, first: ApiChannel, second: ApiChannel) -> None:
    post(client, first, change("account_update", {"event": "ACCOUNT_VIOLATION"}))
    for _round in range(3):
        processing.process_inbox()

    assert WebhookEvent.objects.count() == 2


def test_a_paused_channel_stores_routed_events_like_its_own(
    client: Client, first: ApiChannel, second: ApiChannel
) -> None:
    second.pause()
    post(client, first, text("Привет", number=B_NUMBER))
    processing.process_inbox()

    assert texts(second) == ["Привет"]
    assert ApiChannel.objects.get(pk=second.pk).state == ChannelState.PAUSED


def test_of_two_channels_with_one_number_the_live_one_is_chosen(client: Client, first: ApiChannel) -> None:
    cloud_channel(name="Draft", state=ChannelState.DRAFT, settings={"phone_number_id": B_NUMBER})
    live = cloud_channel(name="Live", settings={"phone_number_id": B_NUMBER})
    post(client, first, text("Привет", number=B_NUMBER))
    processing.process_inbox()

    assert texts(live) == ["Привет"]
    assert Message.objects.count() == 1


# --- unroutable events -----------------------------------------------------------------------------------------


def test_an_unknown_number_raises_one_alert_until_its_channel_exists(client: Client, first: ApiChannel) -> None:
    post(client, first, text("раз", number=B_NUMBER), text("своё", number=PHONE_NUMBER_ID))
    post(client, first, text("два", number=B_NUMBER))
    processing.process_inbox()

    assert texts(first) == ["своё"]
    assert WebhookEvent.objects.filter(state="unrouted", api_channel=first).count() == 2
    assert (alert().api_channel, alert().details["count"], alert().details["ids"]) == (first, 2, B_NUMBER)
    admin = signed_in(Client(), vera())
    page = admin.get(reverse("admin:bridge_webhookevent_changelist") + "?state=unrouted").content.decode()
    assert page.count(B_NUMBER) >= 2
    assert "?state=unrouted" in admin.get("/").content.decode()

    second = cloud_channel(name="Second", settings={"phone_number_id": B_NUMBER})
    stuck = list(WebhookEvent.objects.filter(state="unrouted").values_list("pk", flat=True))
    assert processing.reprocess_events(stuck) == 2
    processing.process_inbox()
    assert (processing.reprocess_events(stuck), processing.reprocess_events([1])) == (0, 0)
    processing.process_inbox()

    assert texts(second) == ["раз", "два"]
    assert texts(first) == ["своё"]
    assert not Alert.objects.filter(kind=Alert.Kind.UNROUTED, settled_at=None).exists()


def test_a_number_set_a_second_ago_is_not_unknown(
    client: Client, first: ApiChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The inbox remembers a channel's settings for two seconds, but sets nothing aside by them."""
    monkeypatch.setattr(settings_cache, "CACHE_SECONDS", 2.0)
    channel_settings.get_channel(first.pk)
    ApiChannel.objects.filter(pk=first.pk).update(options=first.options | {"phone_number_id": B_NUMBER})
    post(client, first, text("раз", number=B_NUMBER))
    processing.process_inbox()

    assert texts(first) == ["раз"]
    assert not WebhookEvent.objects.filter(state=WebhookEvent.State.UNROUTED).exists()


def test_of_two_unknown_numbers_only_the_known_one_is_routed_later(client: Client, first: ApiChannel) -> None:
    post(client, first, text("a", number=B_NUMBER), text("b", number=UNKNOWN))
    processing.process_inbox()
    second = cloud_channel(name="Second", settings={"phone_number_id": B_NUMBER})
    processing.reprocess_events(list(WebhookEvent.objects.filter(state="unrouted").values_list("pk", flat=True)))
    processing.process_inbox()

    assert texts(second) == ["a"]
    assert UNKNOWN in unrouted().error and B_NUMBER not in unrouted().error
    assert alert().details["ids"] == UNKNOWN


@pytest.mark.parametrize("secret", [OTHER_SECRET, None])
def test_a_channel_without_the_app_secret_gets_no_routed_items(
    client: Client, first: ApiChannel, secret: str | None
) -> None:
    second = ApiChannelFactory(kind=first.kind, name="Second", secret=True)
    account_settings.save_values(second, {"phone_number_id": B_NUMBER, "waba_id": WABA_ID, "app_secret": secret})
    # The same text under another name is no proof.
    account_settings.save_values(second, {"verify_token": APP_SECRET})
    post(client, first, text("чужое?", number=B_NUMBER))
    processing.process_inbox()
    assert not Message.objects.exists()
    assert alert().details["why_code"] == "unrouted_secret"

    account_settings.save_values(second, {"app_secret": APP_SECRET})
    processing.reprocess_events([unrouted().pk])
    processing.process_inbox()
    assert texts(second) == ["чужое?"]


def test_a_rotated_app_secret_authenticates_events_before_the_rotation(
    client: Client, first: ApiChannel, second: ApiChannel
) -> None:
    second.pause()
    post(client, first, text("раньше", number=B_NUMBER))
    account_settings.save_values(second, {"app_secret": OTHER_SECRET})
    second.credentials.filter(name="app_secret", expires_at__isnull=False).update(
        expires_at=timezone.now() + timedelta(seconds=1)
    )
    processing.process_inbox()
    assert texts(second) == ["раньше"]

    second.credentials.filter(name="app_secret", expires_at__isnull=False).update(
        expires_at=timezone.now() - timedelta(seconds=1)
    )
    post(client, first, text("позже", number=B_NUMBER))
    processing.process_inbox()
    assert texts(second) == ["раньше"]
    assert unrouted()


def test_an_event_without_credential_fingerprint_is_not_routed(
    client: Client, first: ApiChannel, second: ApiChannel
) -> None:
    post(client, first, text("x", number=B_NUMBER))
    WebhookEvent.objects.update(proof=None)
    processing.process_inbox()

    assert not Message.objects.exists()
    assert unrouted()
    assert alert().details["why_code"] == "unrouted_unproven"


def test_a_number_without_a_chat_channel_fails_alone(client: Client, first: ApiChannel, second: ApiChannel) -> None:
    second.watched.clear()
    post(client, first, text("ей", number=B_NUMBER), text("мне", number=PHONE_NUMBER_ID))
    processing.process_inbox()

    failed = WebhookEvent.objects.get(state="failed")
    assert (failed.api_channel, texts(first)) == (second, ["мне"])
    second.watched.add(first.default_chat_channel)
    processing.reprocess_events([failed.pk])
    processing.process_inbox()
    assert texts(second) == ["ей"]


def test_routed_items_do_not_wait_for_a_failing_channel(client: Client, first: ApiChannel, second: ApiChannel) -> None:
    chat_channel = first.default_chat_channel
    first.watched.clear()
    post(client, first, text("ей", number=B_NUMBER), text("мне", number=PHONE_NUMBER_ID))
    processing.process_inbox()
    assert texts(second) == ["ей"]

    first.watched.add(chat_channel)
    processing.reprocess_events(list(WebhookEvent.objects.filter(state="failed").values_list("pk", flat=True)))
    processing.process_inbox()
    assert (texts(second), texts(first)) == (["ей"], ["мне"])


def test_unused_optional_items_raise_no_alert(client: Client, first: ApiChannel) -> None:
    post(
        client,
        first,
        change("messages", {"statuses": [{"id": "w", "status": "deleted"}]}, number=UNKNOWN),
        change("history", {"history": [{}]}, number=UNKNOWN),
        change("messages", {"messages": []}, number=UNKNOWN),
        change("field_of_tomorrow", {}, account=B_WABA),
    )
    processing.process_inbox()

    assert WebhookEvent.objects.get().state == "processed"
    assert not Alert.objects.exists()


def test_resolved_unrouted_events_end_the_alert(client: Client, first: ApiChannel) -> None:
    post(client, first, text("x", number=UNKNOWN))
    processing.process_inbox()

    assert processing.dismiss_events([unrouted().pk]) == 1
    assert not Alert.objects.filter(settled_at=None).exists()


def test_housekeeping_ends_an_alert_without_remaining_events(client: Client, first: ApiChannel) -> None:
    post(client, first, text("x", number=UNKNOWN))
    processing.process_inbox()
    tasks.check_health()
    assert alert()
    WebhookEvent.objects.all().delete()
    tasks.check_health()
    assert not Alert.objects.filter(settled_at=None).exists()


# --- exactly once ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "broken", ["bridge.inbox.processing._apply_all", "bridge.inbox.routing.wakeups.notify_after_commit"]
)
def test_a_crash_around_routing_duplicates_nothing(
    client: Client, first: ApiChannel, second: ApiChannel, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    class Killed(BaseException):
        pass

    def killed(*args: Any, **kwargs: Any) -> None:
        raise Killed

    post(client, first, text("ей", number=B_NUMBER), text("мне", number=PHONE_NUMBER_ID))
    with monkeypatch.context() as patch:
        patch.setattr(broken, killed)
        with pytest.raises(Killed):
            processing.process_inbox()
    processing.process_inbox()

    assert (texts(first), texts(second)) == (["мне"], ["ей"])
    assert WebhookEvent.objects.filter(api_channel=second).count() == 1


def test_a_webhook_repeated_to_both_addresses_makes_one_message(
    client: Client, first: ApiChannel, second: ApiChannel
) -> None:
    for channel in (first, second, first):
        post(client, channel, text("раз", number=B_NUMBER))
    processing.process_inbox()

    assert texts(second) == ["раз"]
    assert Conversation.objects.count() == 1


# --- events without private messages: groups and tests ---------------------------------------------------------

GROUP = "Y2FwaV9ncm91cDoxOTUwNTU1MDA3OToxMjAzNjM"


def item(kind: str, body: Any, **more: Any) -> dict[str, Any]:
    return {"from": ANNA, "id": f"wamid.{kind}", "timestamp": now(), "type": kind, kind: body, "group_id": GROUP} | more


def group_status(**more: Any) -> dict[str, Any]:
    return {
        "statuses": [{"id": "w", "status": "read", "timestamp": now(), "recipient_participant_id": ANNA, **more}],
    }


GROUP_CHANGES = {
    "text": ("messages", {"messages": [item("text", {"body": "Hello group"})]}),
    "reply": ("messages", {"messages": [item("text", {"body": "?"}, context={"from": ANNA, "id": "wamid.x"})]}),
    "image": ("messages", {"messages": [item("image", {"id": "5", "mime_type": "image/jpeg", "sha256": ""})]}),
    "reaction": ("messages", {"messages": [item("reaction", {"message_id": "wamid.x", "emoji": "👍"})]}),
    "revoke": ("messages", {"messages": [item("revoke", {"original_message_id": "wamid.x"})]}),
    "edit": ("messages", {"messages": [item("edit", {"original_message_id": "wamid.x", "message": {"type": "text"}})]}),
    "system": ("messages", {"messages": [item("system", {"type": "user_changed_number", "wa_id": "447700900109"})]}),
    "unsupported": ("messages", {"messages": [item("unsupported", {"type": "poll_creation"})]}),
    "status": ("messages", group_status(recipient_id=GROUP, recipient_type="group")),
    "failed status": (
        "messages",
        group_status(recipient_id=GROUP, recipient_type="group", status="failed", errors=[{"code": 131026}]),
    ),
    "status by id": ("messages", group_status(group_id=GROUP)),
    "echo": (
        "smb_message_echoes",
        {"message_echoes": [item("text", {"body": "мы"}, **{"from": "15550100802", "to": GROUP})]},
    ),
    "echo by type": (
        "smb_message_echoes",
        {"message_echoes": [item("text", {"body": "мы"}, to=ANNA, group_id=None, recipient_type="group")]},
    ),
    "lifecycle": ("group_lifecycle_update", {"groups": [{"group_id": GROUP, "type": "group_create"}]}),
    "participants": ("group_participants_update", {"groups": [{"group_id": GROUP, "type": "group_participants_add"}]}),
    "settings": ("group_settings_update", {"groups": [{"group_id": GROUP, "type": "group_settings_update"}]}),
    "group status": ("group_status_update", {"groups": [{"group_id": GROUP, "type": "group_suspend"}]}),
    "empty update": ("group_status_update", {}),
}


@pytest.mark.parametrize("routed", [False, True], ids=["own", "routed"])
@pytest.mark.parametrize("shape", GROUP_CHANGES)
def test_group_activity_is_reported_as_unsupported_and_opens_no_chat(client: Client, shape: str, routed: bool) -> None:
    channel = cloud_channel(state=ChannelState.WAITING)
    field, value = GROUP_CHANGES[shape]
    number = PHONE_NUMBER_ID
    if routed:
        number = B_NUMBER
        entrance, channel = channel, cloud_channel(settings={"phone_number_id": B_NUMBER}, state=ChannelState.WAITING)
    post(client, entrance if routed else channel, change(field, value, number=number))
    processing.process_inbox()

    assert not Message.objects.exists() and not Conversation.objects.exists() and not StrayStatus.objects.exists()
    event = WebhookEvent.objects.get(api_channel=channel)
    assert (event.state, event.note) == ("processed", "group")
    assert event.error
    channel.refresh_from_db()
    assert (channel.state, channel.first_inbound_at) == (ChannelState.WAITING, None)
    assert channel.provider_status["groups"]["count"] == 1
    raised = Alert.objects.get(settled_at=None)
    assert (raised.kind, raised.api_channel, raised.details) == ("groups", channel, {"count": 1})


def test_private_messages_in_a_batch_with_group_messages_are_stored(client: Client, first: ApiChannel) -> None:
    private = {"from": ANNA, "id": "wamid.p", "timestamp": now(), "type": "text", "text": {"body": "лично"}}
    both = [item("text", {"body": "всем"}), private, private | {"id": "wamid.q", "group_id": ""}]
    post(client, first, change("messages", {"messages": both}, number=PHONE_NUMBER_ID))
    processing.process_inbox()

    assert texts(first) == ["лично", "лично"]


def test_the_group_alert_is_raised_once_and_ends_by_itself(client: Client, first: ApiChannel) -> None:
    field, value = GROUP_CHANGES["text"]
    for _time in range(3):
        post(client, first, change(field, value, number=PHONE_NUMBER_ID))
    processing.process_inbox()
    assert Alert.objects.get().details == {"count": 3}

    Alert.objects.update(raised_at=timezone.now() - timedelta(days=4))
    tasks.check_health()
    post(client, first, change(field, value, number=PHONE_NUMBER_ID))
    processing.process_inbox()
    assert not Alert.objects.filter(settled_at=None).exists()
    first.refresh_from_db()
    assert first.provider_status["groups"]["count"] == 4
    page = signed_in(Client(), vera()).get(reverse("admin:channels_setup_apichannel_change", args=[first.pk]))
    assert "?state=groups" in page.content.decode()


SAMPLE = {"metadata": {"display_phone_number": "16505551111", "phone_number_id": "123456123"}}


@pytest.mark.parametrize(
    ("field", "value", "account"),
    [
        (
            "messages",
            SAMPLE
            | {
                "contacts": [{"profile": {"name": "test user name"}, "wa_id": "16315551181"}],
                "messages": [
                    {
                        "from": "16315551181",
                        "id": "ABGGFlA5Fpa",
                        "timestamp": "1504902988",
                        "type": "text",
                        "text": {"body": "this is a text message"},
                    }
                ],
            },
            "0",
        ),
        ("messages", SAMPLE | {"statuses": [{"id": "x", "status": "read"}]}, WABA_ID),
        ("account_update", {"phone_number": "16505551111", "event": "VERIFIED_ACCOUNT"}, "0"),
        ("message_template_status_update", {"event": "APPROVED", "message_template_id": 12345678}, "0"),
        ("phone_number_quality_update", {"display_phone_number": "16505551111", "event": "FLAGGED"}, "0"),
        ("group_lifecycle_update", {"groups": [{"group_id": "1"}]}, "0"),
        ("field_of_tomorrow", {}, "0"),
    ],
)
def test_a_sample_from_metas_dashboard_is_recorded_as_a_test(
    client: Client, second: ApiChannel, field: str, value: dict[str, Any], account: str
) -> None:
    channel = cloud_channel(state=ChannelState.WAITING)
    post(client, channel, change(field, value, account=account))
    processing.process_inbox()

    event = WebhookEvent.objects.get()
    assert (event.state, event.note) == ("processed", "sample")
    assert not Alert.objects.exists() and not Message.objects.exists() and not StrayStatus.objects.exists()
    channel.refresh_from_db()
    assert (channel.provider_status["sample"], channel.first_inbound_at) == (field, None)
    assert "updates" not in channel.provider_status and "quality" not in channel.provider_status
    page = signed_in(Client(), vera()).get(reverse("admin:channels_setup_apichannel_change", args=[channel.pk]))
    assert "Test webhook received" in page.content.decode()
