"""Webhook addresses: hashed, encrypted, shown on request, replaced with an overlap, and combined with other proof."""

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import override

from bridge import settings_cache
from bridge.models import WebhookEvent
from channels_setup import encryption, onboarding
from channels_setup.models import ADDRESS_OVERLAP, ApiChannel, WebhookAddress
from channels_setup.providers import helpdesks, messengers
from tests.factories import ApiChannelFactory, ChatChannelFactory, boris, gleb, vera
from tests.pages import page_html

pytestmark = pytest.mark.django_db


def api() -> Any:
    return ApiChannelFactory(secret=True)


def helpdesk() -> Any:
    made = ChatChannelFactory(kind="usedesk")
    made.set_secret("k" * 40)
    made.save()
    return made


BOTH = pytest.mark.parametrize("make", [api, helpdesk], ids=["api channel", "chat channel"])


@pytest.fixture(autouse=True)
def no_cached_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each lookup of an address come two seconds after the previous one."""
    monkeypatch.setattr(settings_cache, "CACHE_SECONDS", -1.0)


@pytest.fixture
def browser_of_vera() -> Client:
    client = Client(headers={"accept-language": "en"})
    client.force_login(vera())
    return client


def ping(client: Client, path: str) -> int:
    return client.post(path, b"ping", content_type="text/plain").status_code


def page_of(channel: Any, name: str = "change", *more: str) -> str:
    return reverse(f"admin:channels_setup_{channel._meta.model_name}_{name}", args=[channel.pk, *more])


# --- at rest ---------------------------------------------------------------------------------------------


@BOTH
def test_no_address_is_stored_in_clear_text(make: Any) -> None:
    channel = make()
    token = channel.path_token

    with connection.cursor() as cursor:
        for table in (channel._meta.db_table, WebhookAddress._meta.db_table):
            cursor.execute(f"SELECT t::text FROM {table} t")
            assert token not in str(cursor.fetchall())
    assert token not in f"{channel!r} {channel} {channel.addresses.get()!r} {channel.addresses.get()}"
    assert len(token) >= 32 and encryption.has_valid_signature(token)


def test_a_made_up_token_has_no_valid_signature() -> None:
    real = encryption.new_webhook_token()

    for token in (real[:-1], real + "x", real.swapcase(), "é" * 40, "", "x", "\0", "\ud800" * 40, real[8:], "x" * 9999):
        assert not encryption.has_valid_signature(token), token


def test_an_address_belongs_to_exactly_one_channel() -> None:
    both = {"api_channel": api(), "chat_channel": helpdesk()}
    for owners in ({}, both):
        with pytest.raises(IntegrityError), transaction.atomic():
            WebhookAddress.objects.create(token=b"", digest=b"x", tail="", **owners)
    for name, channel in both.items():
        with pytest.raises(IntegrityError), transaction.atomic():
            WebhookAddress.objects.create(token=b"", digest=b"y", tail="", **{name: channel})


class _Rows:
    """A queryset of a model that still has the column ``path_token``."""

    def __init__(self, model: Any, tokens: dict[Any, str]) -> None:
        self.rows = model.objects.all()
        self.tokens = {(type(channel), channel.pk): token for channel, token in tokens.items()}
        self.model, self.objects = model, self

    def filter(self, **conditions: Any) -> "_Rows":
        self.rows = self.model.objects.filter(**conditions)
        return self

    def order_by(self, *names: str) -> "_Rows":
        return self

    def values_list(self, *names: str) -> list[tuple[int, str]]:
        pairs = ((pk, self.tokens.get((self.model, pk))) for pk in self.rows.all().values_list("pk", flat=True))
        return [(pk, token) for pk, token in pairs if token]


# --- replacing -------------------------------------------------------------------------------------------


@BOTH
def test_the_old_address_works_until_it_expires_or_is_revoked(client: Client, make: Any) -> None:
    channel = make()
    first = channel.webhook_path
    assert channel.issue_address() is not None
    second = channel.webhook_path
    assert first != second and [ping(client, path) for path in (first, second)] == [200, 200]
    assert channel.issue_address() is None  # two addresses at most

    later = timezone.now() + ADDRESS_OVERLAP
    old = channel.addresses.exclude(expires_at=None).get()
    assert abs((old.expires_at - later).total_seconds()) < 60
    channel.addresses.filter(pk=old.pk).update(expires_at=timezone.now())
    assert [ping(client, path) for path in (first, second)] == [404, 200]

    channel.issue_address()
    assert channel.end_old_address() and not channel.end_old_address()
    assert [ping(client, path) for path in (second, channel.webhook_path)] == [404, 200]


@BOTH
def test_each_address_records_its_last_use(client: Client, make: Any) -> None:
    channel = make()
    first = channel.webhook_path
    channel.issue_address()
    second = channel.webhook_path
    used = lambda: [row.last_used_at for row in channel.addresses.order_by("id")]  # noqa: E731

    assert used() == [None, None]
    ping(client, first)
    noted, other = used()
    assert noted is not None and other is None
    ping(client, second)
    ping(client, first)
    assert used()[0] == noted and used()[1] is not None

    long_ago = noted - timedelta(seconds=61)
    channel.addresses.update(last_used_at=long_ago)
    ping(client, first)
    assert used()[0] > long_ago and used()[1] == long_ago


@pytest.mark.parametrize("kind", [kind for kind, provider in messengers().items() if provider.signs_requests])
def test_an_unauthenticated_call_is_no_use_of_the_address(client: Client, kind: str) -> None:
    channel = ApiChannelFactory(kind=kind)

    assert client.post(channel.webhook_path, b"{}", content_type="application/json").status_code == 403
    assert client.get(channel.webhook_path).status_code == 403

    assert channel.addresses.get().last_used_at is None and not WebhookEvent.objects.exists()


def test_the_address_is_not_enough_for_a_provider_with_other_proof(client: Client) -> None:
    """A new provider must sign its requests or be listed here with the reason."""
    no_other_proof = {
        "sandbox": "for training: it has no account anywhere",
    }
    others = {kind for kind, each in messengers().items() if not (each.signs_requests or each.can_send_key)}
    assert others == set(no_other_proof)
    event = b'{"trigger":"message","secret":"wrong","message":{"id":1,"chat_id":5,"text":"x","from":"user"}}'
    for kind in [kind for kind, provider in helpdesks().items() if not provider.built_in]:
        channel = ChatChannelFactory(kind=kind)
        for secret in ("k" * 40, None):  # with a secret, and without
            channel.set_secret(secret or "")
            channel.save()
            for body in (event, event.replace(b"wrong", b""), event.replace(b'"secret":"wrong",', b"")):
                answer = client.post(channel.webhook_path, body, content_type="application/json")
                assert answer.status_code == 403, body
    assert not WebhookEvent.objects.exists()


@pytest.mark.parametrize("kind", [kind for kind, provider in messengers().items() if provider.can_send_key])
def test_a_channel_can_require_its_secret_key(client: Client, kind: str) -> None:
    channel, other = ApiChannelFactory(kind=kind, secret=True), ApiChannelFactory(kind=kind, secret=True)
    path, body = channel.webhook_path, b'{"message_id": 1, "status": "read"}'
    old, foreign = channel.current_secret().reveal(), other.current_secret().reveal()
    new = channel.issue_secret(overlap=timedelta(hours=1)).reveal()
    send: Any = lambda **headers: client.post(path, body, content_type="application/json", headers=headers).status_code  # noqa: E731
    assert send() == 200

    type(channel).objects.update(webhook_needs_key=True)

    assert [send(authorization=f"{word} {key}") for word in ("Bearer", "Token") for key in (old, new)] == [200] * 4
    wrong = (
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {foreign}",
        f"Bearer {new}x",
        f"Bearer {new[:-1]}",
        "Bearer \xff\x00",
        new,
    )
    assert [send(authorization=header) for header in wrong] == [403] * len(wrong) and send() == 403
    channel.secrets.exclude(expires_at=None).update(expires_at=timezone.now())
    assert [send(authorization=f"Bearer {key}") for key in (old, new)] == [403, 200]
    assert all("authorization" not in event.headers for event in WebhookEvent.objects.all())


def test_an_admin_sees_refused_statuses_without_the_key(client: Client) -> None:
    channel = ApiChannelFactory(kind="acebot", secret=True, webhook_needs_key=True)
    status = {"message_id": 1, "status": "read"}

    def troubles(**headers: str) -> list[str]:
        client.post(channel.webhook_path, status, content_type="application/json", headers=headers)
        with override("en"):
            steps = onboarding.list_steps(ApiChannel.objects.get(pk=channel.pk))
        return [str(step.title) for step in steps if step.state == onboarding.PROBLEM]

    assert troubles() == ["Statuses are refused: they do not contain the secret key"]
    assert troubles(authorization=f"Bearer {channel.current_secret().reveal()}") == []


@pytest.mark.parametrize("kind", messengers())
def test_a_provider_that_cannot_send_a_key_is_not_asked_for_one(kind: str) -> None:
    channel = ApiChannelFactory(kind=kind, webhook_needs_key=True)

    assert channel.account().webhook_needs_key == channel.provider.can_send_key


# --- the pages -------------------------------------------------------------------------------------------


@BOTH
def test_the_admin_shows_replaces_and_revokes_an_address(browser_of_vera: Client, make: Any) -> None:
    channel = make()
    token, page = channel.path_token, page_of(channel)
    before = browser_of_vera.get(page).content.decode()
    assert token not in before and f"••••{token[-4:]}" in before and "not used yet" in before

    response = browser_of_vera.post(page_of(channel, "action", "show-address"))
    assert channel.webhook_url in response.content.decode() and "no-store" in response["Cache-Control"]

    issued = browser_of_vera.post(page_of(channel, "action", "new-address"))
    assert channel.path_token != token and channel.webhook_url in issued.content.decode()
    both = browser_of_vera.get(page).content.decode()
    assert "End the old address now" in both and channel.path_token not in both and token not in both
    assert browser_of_vera.post(page_of(channel, "action", "new-address")).status_code == 302
    assert channel.addresses.count() == 2

    browser_of_vera.post(page_of(channel, "action", "end-old-address"))
    assert [row.pk for row in channel.valid_addresses()] == [channel.addresses.get(expires_at=None).pk]
    entries = [row.change_message for row in LogEntry.objects.order_by("id")]
    assert [word for word in ("shown", "issued", "ended") if word in " ".join(entries)] == ["shown", "issued", "ended"]
    assert len(entries) == 3 and channel.path_token not in str(entries) and token not in str(entries)
    history = page_html(browser_of_vera, page_of(channel, "history"))
    assert token not in history and channel.path_token not in history


@BOTH
@pytest.mark.parametrize("action", ["show-address", "new-address", "end-old-address"])
def test_only_an_admins_post_changes_an_address(make: Any, action: str) -> None:
    channel = make()
    path = page_of(channel, "action", action)
    for who in (gleb(), boris()):
        client = Client()
        client.force_login(who)
        assert client.post(path).status_code in (302, 403)
    client = Client(enforce_csrf_checks=True)
    client.force_login(vera())
    assert [call(path).status_code for call in (client.get, client.put, client.post)] == [302, 403, 403]
    assert not LogEntry.objects.exists() and channel.addresses.count() == 1


def test_the_address_is_shown_once_after_a_channel_is_created(browser_of_vera: Client) -> None:
    form = {"name": "WhatsApp", "kind": "acebot", "watched": ChatChannelFactory().pk, "send_json": "on"}
    answer = browser_of_vera.post(
        reverse("admin:channels_setup_apichannel_add"), {**form, "on_unknown": "resend", "track_message": "on"}
    )
    first = browser_of_vera.get(answer["Location"]).content.decode()
    channel = WebhookAddress.objects.filter(chat_channel=None).get().api_channel
    assert channel is not None and channel.webhook_url in first

    assert channel.path_token not in page_html(browser_of_vera, answer["Location"])
    channel.issue_secret(overlap=timedelta(hours=1))
    browser_of_vera.post(page_of(channel, "action", "new-key"))
    assert channel.path_token not in page_html(browser_of_vera, page_of(channel))


@pytest.mark.parametrize(("make", "command"), [(api, "channel"), (helpdesk, "helpdesk")])
def test_the_commands_replace_and_revoke_an_address(client: Client, make: Any, command: str) -> None:
    channel = make()
    first = channel.webhook_path

    made = run(command, "new-address", channel)
    assert made["webhook_url"] == channel.webhook_url and len(made["addresses"]) == 2
    assert ping(client, first) == ping(client, channel.webhook_path) == 200
    output = run(command, "show", channel)
    assert channel.path_token not in str(output) and all(row["last_used_at"] for row in output["addresses"])
    with pytest.raises(CommandError, match="end-old-address"):
        run(command, "new-address", channel)

    assert len(run(command, "end-old-address", channel)["addresses"]) == 1
    assert ping(client, first) == 404
    with pytest.raises(CommandError, match="no old address"):
        run(command, "end-old-address", channel)
    out = StringIO()
    call_command(command, "show", str(channel.pk), stdout=out)
    assert "••••" in out.getvalue()


def run(command: str, action: str, channel: Any) -> Any:
    out = StringIO()
    call_command(command, action, str(channel.pk), "--output", "json", stdout=out)
    return json.loads(out.getvalue())
