"""Archived API channels: they receive and send nothing, and their chats stay readable."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from bridge.channel_health import alerts
from bridge.conversations import closing_reminders
from bridge.fanout.subscribers import find_watchers
from bridge.intake import webhooks
from bridge.maintenance import portal_checks
from bridge.models import Alert, WebhookEvent
from bridge.relay.reply_submission import submit_reply
from channels_setup.models import ApiChannel, ChannelState
from tests.factories import ApiChannelFactory, ConversationFactory, boris, vera
from tests.scenarios.sending import receive_text

pytestmark = pytest.mark.django_db


@pytest.fixture
def channel() -> ApiChannel:
    found: ApiChannel = ApiChannelFactory(name="WhatsApp", secret=True, state=ChannelState.LIVE)
    return found


@pytest.fixture
def admin_client(client: Client) -> Client:
    client.force_login(vera())
    return client


def run(capsys: pytest.CaptureFixture[str], *words: Any) -> Any:
    call_command("channel", *map(str, words), "--output", "json")
    return json.loads(capsys.readouterr().out)


def test_the_commands_archive_and_take_back(capsys: pytest.CaptureFixture[str], channel: ApiChannel) -> None:
    archived = run(capsys, "archive", "WhatsApp")
    assert archived["state"] == "paused" and archived["archived_at"]
    assert run(capsys, "archive", channel.pk)["archived_at"] == archived["archived_at"]

    with pytest.raises(CommandError, match="channel unarchive"):
        run(capsys, "resume", channel.pk)
    channel.resume()
    assert channel.state == ChannelState.PAUSED

    assert run(capsys, "unarchive", channel.pk)["archived_at"] is None
    assert run(capsys, "resume", channel.pk)["state"] == "live"


def test_an_archived_channel_receives_nothing(client: Client, channel: ApiChannel) -> None:
    key = channel.current_secret()
    assert key is not None
    secret = key.reveal()
    channel.archive()
    webhooks._api_channels.entries.clear()

    answer = client.post(f"/webhooks/{channel.kind}/{channel.path_token}/", b"{}", content_type="application/json")

    assert answer.status_code == 410 and not WebhookEvent.objects.exists()
    assert ApiChannel.objects.all().by_secret(secret) is None
    chat_channel = channel.default_chat_channel
    assert chat_channel is not None and find_watchers([chat_channel.pk]) == {}


def test_a_reply_in_its_chat_is_refused_with_a_reason(channel: ApiChannel) -> None:
    chat = ConversationFactory(api_channel=channel)
    channel.archive()

    result = submit_reply(conversation_id=chat.pk, text="Здравствуйте!", author=boris())

    assert result.message is None and result.decision.reason == "channel_archived"


def test_its_chats_get_no_closing_reminder_and_say_why(admin_client: Client, channel: ApiChannel) -> None:
    chat = receive_text(channel, "Ау?").conversation
    soon = timezone.now() + timedelta(minutes=50)
    chat.windows.update(expires_at=soon, opened_at=soon - timedelta(hours=24))
    channel.archive()

    assert closing_reminders.send_reminders() == 0
    page = admin_client.get(reverse("chat", args=[chat.pk])).content.decode()
    assert "в архиве" in page and "на паузе" not in page


def test_its_alerts_are_settled_but_that_of_other_numbers(channel: ApiChannel) -> None:
    for kind in (Alert.Kind.SWITCHED_OFF, Alert.Kind.UNROUTED):
        alerts.raise_alert(kind, api_channel_id=channel.pk)
    channel.archive()

    portal_checks.settle_gone_subjects()

    assert [alert.kind for alert in Alert.objects.filter(settled_at=None)] == [Alert.Kind.UNROUTED]


def test_a_training_phone_cannot_write_to_it(admin_client: Client, channel: ApiChannel) -> None:
    channel.archive()

    answer = admin_client.post(f"{channel.phone_page_path}post", b"{}", content_type="application/json")

    assert answer.status_code == 410 and not WebhookEvent.objects.exists()


def test_lists_show_archived_channels_only_on_request(admin_client: Client, channel: ApiChannel) -> None:
    ApiChannelFactory(name="Второй")
    channel.archive()
    page = reverse("admin:channels_setup_apichannel_changelist")

    found = {
        query: {row.name for row in admin_client.get(page + query).context["cl"].result_list}
        for query in ("", "?archived=yes", "?archived=all")
    }

    assert found == {"": {"Второй"}, "?archived=yes": {"WhatsApp"}, "?archived=all": {"WhatsApp", "Второй"}}


def test_the_buttons_of_its_page(admin_client: Client, channel: ApiChannel) -> None:
    action = reverse("admin:channels_setup_apichannel_action", args=[channel.pk, "archive"])
    page = reverse("admin:channels_setup_apichannel_change", args=[channel.pk])

    admin_client.post(action)
    channel.refresh_from_db()
    assert channel.archived_at is not None
    assert "actions/unarchive/" in admin_client.get(page).content.decode()

    admin_client.post(action.replace("archive", "unarchive"))
    channel.refresh_from_db()
    assert channel.archived_at is None and channel.state == ChannelState.PAUSED


def test_deleting_a_used_channel_suggests_the_archive(admin_client: Client, channel: ApiChannel) -> None:
    channel.record_inbound()

    answer = admin_client.post(
        reverse("admin:channels_setup_apichannel_delete", args=[channel.pk]), {"post": "yes"}, follow=True
    )

    assert "Archive" in answer.content.decode() or "рхив" in answer.content.decode()
    assert ApiChannel.objects.filter(pk=channel.pk).exists()
