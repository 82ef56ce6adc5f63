"""Channels: validation, states, keys, and connection steps."""

import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.test import override_settings
from django.utils import timezone

from channels_setup import checks, onboarding
from channels_setup.admin.channels import ApiChannelForm
from channels_setup.models import ApiChannel, ChannelState, Handover
from tests.factories import ApiChannelFactory, ChatChannelFactory, boris
from tests.receiver import Receiver

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("in_english")]


def form(**changed: Any) -> ApiChannelForm:
    """Fill in the four blocks as the setup guide says."""
    filled = {
        "name": "WhatsApp",
        "kind": "acebot",
        "redirect_url": "http://127.0.0.1:8080/hook",
        "send_json": "on",
        "send_utf8": "on",
        "on_unknown": "resend",
        "watched": [ChatChannelFactory().pk],
        "track_message": "on",
    }
    return ApiChannelForm({**filled, **changed})


# --- the form ---------------------------------------------------------------------------------------------


def test_a_complete_form_is_saved_as_filled_in() -> None:
    filled = form(send_json="", track_message="", track_resumed="on")

    assert filled.is_valid(), filled.errors
    channel = filled.save()

    assert not channel.send_json and channel.send_utf8
    assert channel.tracked == ["resumed"]
    assert channel.state == ChannelState.DRAFT


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://10.0.0.7/hook", "private"),
        ("https://192.168.1.1/hook", "private"),
        ("https://[::1]/hook", "private"),
        ("https://169.254.169.254/latest", "private"),
        ("ftp://127.0.0.1/hook", "https://"),
        ("hooks.example", "https://"),
        ("https://user:word@127.0.0.1/", "user name or password"),
        ("https://exa mple/", "spaces"),
    ],
)
def test_a_forbidden_redirect_url_is_refused_at_its_field(url: str, words: str) -> None:
    filled = form(redirect_url=url)

    assert not filled.is_valid()
    assert words in filled.errors["redirect_url"][0]


@override_settings(RELAY_ALLOWED_PRIVATE_CIDRS=[])
def test_loopback_is_private_unless_allowed() -> None:
    filled = form()

    assert not filled.is_valid()
    assert "RELAY_ALLOWED_PRIVATE_CIDRS" in filled.errors["redirect_url"][0]


def test_plain_http_to_a_public_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("channels_setup.http_client.addresses.resolve", lambda host, port: ["93.184.215.14"])

    filled = form(redirect_url="http://hooks.example/acebot")

    assert not filled.is_valid()
    assert "https://" in filled.errors["redirect_url"][0]


def test_an_empty_event_list_is_refused_at_its_field() -> None:
    filled = form(watched=[])

    assert not filled.is_valid()
    assert "Without a chat channel" in filled.errors["watched"][0]


def test_the_redirect_url_may_be_set_after_the_verification() -> None:
    filled = form(redirect_url="")

    assert filled.is_valid(), filled.errors


def test_a_live_channel_cannot_lose_its_redirect_url() -> None:
    channel = ApiChannelFactory(kind="acebot", redirect_url="http://127.0.0.1:8080/hook", state=ChannelState.LIVE)
    channel.redirect_url = ""

    with pytest.raises(ValidationError) as refused:
        channel.clean()

    assert "redirect_url" in refused.value.message_dict


# --- states -----------------------------------------------------------------------------------------------


def test_a_channel_moves_from_draft_to_live() -> None:
    channel = ApiChannelFactory(kind="acebot", state=ChannelState.DRAFT)
    states = [channel.state]

    for step in (channel.start_verification, channel.finish_verification, channel.record_inbound):
        step()
        channel.refresh_from_db()
        states.append(channel.state)

    assert states == ["draft", "verifying", "waiting", "live"]
    assert channel.verifying_since is not None and channel.first_inbound_at is not None


def test_a_live_channel_does_not_return_to_verification() -> None:
    channel = ApiChannelFactory(kind="acebot", state=ChannelState.LIVE)

    assert not channel.start_verification()
    assert not channel.finish_verification()

    channel.refresh_from_db()
    assert channel.state == ChannelState.LIVE


def test_resuming_restores_the_state_before_the_pause() -> None:
    channel = ApiChannelFactory(kind="acebot", state=ChannelState.WAITING)

    channel.pause()
    paused = channel.state
    channel.resume()

    assert (paused, channel.state) == (ChannelState.PAUSED, ChannelState.WAITING)


# --- keys -------------------------------------------------------------------------------------------------


def test_two_keys_are_valid_during_a_rotation_and_one_afterwards() -> None:
    channel = ApiChannelFactory(secret=True)
    old = channel.current_secret().reveal()

    new = channel.issue_secret(overlap=timedelta(hours=24)).reveal()

    channels = ApiChannel.objects.all()
    assert channels.by_secret(old) == channel and channels.by_secret(new) == channel
    channel.secrets.filter(expires_at__isnull=False).update(expires_at=timezone.now())
    assert channels.by_secret(old) is None and channels.by_secret(new) == channel


def test_a_key_is_forty_hex_digits_and_never_stored_in_clear_text() -> None:
    secret = ApiChannelFactory(secret=True).current_secret()

    key = secret.reveal()

    assert len(key) == 40 and set(key) <= set("0123456789abcdef")
    assert key.encode() not in bytes(secret.token) and key not in str(secret)


# --- connection steps -----------------------------------------------------------------------------------


def steps(channel: ApiChannel) -> list[tuple[str, str]]:
    channel.refresh_from_db()
    return [(step.state, str(step.title)) for step in onboarding.list_steps(channel)]


def test_the_steps_show_what_to_do_now() -> None:
    channel = ApiChannelFactory(kind="acebot", state=ChannelState.DRAFT, secret=True)

    states = [state for state, _title in steps(channel)]

    assert states == ["done", "now", "later", "later", "later", "later"]


def test_the_steps_follow_the_handover() -> None:
    channel = ApiChannelFactory(
        kind="acebot", redirect_url="http://127.0.0.1:8080/", state=ChannelState.WAITING, secret=True
    )

    handover, _token = Handover.prepare(channel)
    prepared = {title: state for state, title in steps(channel)}
    handover.open()
    handover.confirm()
    channel.record_inbound()
    handover.refresh_from_db()

    assert prepared["Hand-over link created"] == "done"
    assert prepared["The hand-over page has not been opened yet"] == "now"
    assert [state for state, _title in steps(channel)] == ["done"] * 6 + ["now"]
    assert handover.first_event_at is not None


def test_an_expired_unopened_link_is_reported() -> None:
    channel = ApiChannelFactory(kind="acebot", state=ChannelState.WAITING, secret=True)
    handover, _token = Handover.prepare(channel)
    Handover.objects.filter(pk=handover.pk).update(expires_at=timezone.now())

    assert ("trouble", "The link expired before it was opened") in steps(channel)


def test_a_training_phone_needs_no_handover() -> None:
    titles = [title for _state, title in steps(ApiChannelFactory(kind="sandbox"))]

    assert len(titles) == 3


# --- dry run --------------------------------------------------------------------------------------------


def test_the_dry_run_posts_a_signed_ping_to_the_redirect_url(receiver: Receiver) -> None:
    shop = ChatChannelFactory()
    shop.operators.add(boris())
    channel = ApiChannelFactory(kind="acebot", redirect_url=receiver.url("/hook"), watched=shop, secret=True)

    found = checks.check_connection(channel)

    (request,) = receiver.requests
    assert [finding.level for finding in found] == ["ok", "ok"]
    assert request.headers["webhook-signature"].startswith("v1,") and b"ping" in request.body


def test_the_dry_run_lists_what_is_missing_for_a_first_message(receiver: Receiver) -> None:
    receiver.answer("/hook", status=404)
    channel = ApiChannelFactory(kind="acebot", redirect_url=receiver.url("/hook"), watched=[])

    sentences = " ".join(
        str(finding.sentence) for finding in checks.check_connection(channel) if finding.level == "error"
    )

    assert "no secret key" in sentences and "watches no chat channel" in sentences and "404" in sentences


def test_settings_are_checked_at_startup() -> None:
    with override_settings(FIELD_KEYS=[]):
        assert [message.id for message in checks.check_field_keys(None)] == ["okno.E001"]
    with override_settings(FIELD_KEYS=["short"]):
        assert [message.id for message in checks.check_field_keys(None)] == ["okno.E002"]
    with override_settings(RELAY_ALLOWED_PRIVATE_CIDRS=["10.0.0.0/99"]):
        assert [message.id for message in checks.check_private_networks(None)] == ["okno.E003"]
    with override_settings(RELAY_ALLOWED_PRIVATE_CIDRS=["10.0.0.0/8"], PUBLIC_URL="http://okno.example"):
        assert [message.id for message in checks.warn_of_private_networks(None)] == ["okno.W001"]
        assert [message.id for message in checks.warn_of_plain_public_url(None)] == ["okno.W002"]
    assert checks.check_field_keys(None) == []


def test_the_app_registers_its_system_checks_without_the_admin() -> None:
    program = (
        "import django, django.contrib.admin as admin; admin.autodiscover = lambda: None; django.setup()\n"
        "from django.core.checks.registry import registry\n"
        "print(*(check.__name__ for check in registry.get_checks(include_deployment_checks=True)))"
    )

    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert {"check_field_keys", "check_private_networks", "warn_of_private_networks"} <= set(result.stdout.split())
