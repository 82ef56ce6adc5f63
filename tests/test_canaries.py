"""Canaries: secrets sent through every endpoint are found in clear text on no page, in no API response, log or dump."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client
from django.utils import timezone

from bridge.conversations import message_statuses
from bridge.inbox import account_updates, processing
from bridge.models import Alert, Attempt, Conversation, Delivery
from bridge.raw_requests import mark_event_failed
from channels_setup import account_settings
from channels_setup.codecs.secret_search import find_secrets
from channels_setup.models import ApiChannel, Handover
from channels_setup.providers.base import AccountUpdate, StatusChanged, TemplateChanged
from config.accounts.models import ApiToken
from templates_registry.provider import provider_sync
from tests import routes
from tests.cloud_accounts import ACCESS_TOKEN, APP_SECRET, VERIFY_TOKEN, cloud_channel, proof
from tests.factories import (
    PASSWORD,
    ApiChannelFactory,
    ChatChannelFactory,
    DeliveryFactory,
    TemplateFactory,
    boris,
    vera,
)
from tests.scenarios.captured_log import log
from tests.scenarios.database_dump import dump_every_table
from tests.scenarios.secret_traces import current_key, post_raw

__all__ = ["log"]  # fixture

pytestmark = [pytest.mark.django_db, pytest.mark.exhaustive]

MOST_PAGES = 110
# Secrets of other parties, which the portal can recognize only by the parameter's name.
UNKNOWN = [f"zq81-canary-{number}-{number * 7919}" for number in range(8)]


def seed() -> dict[str, str]:
    """Create every object that has a secret. Return the secrets by name."""
    secrets: dict[str, str] = {f"unknown {number}": value for number, value in enumerate(UNKNOWN)}
    secrets |= {"access token": ACCESS_TOKEN, "app secret": APP_SECRET, "verify token": VERIFY_TOKEN}
    secrets["password"] = PASSWORD
    cloud = cloud_channel()
    secrets["former access token"] = "EAAGformer0000000000000000000000000001"
    account_settings.save_values(cloud, {"access_token": secrets["former access token"]})
    account_settings.save_values(cloud, {"access_token": ACCESS_TOKEN})
    helpdesk = ChatChannelFactory(kind="usedesk")
    secrets["helpdesk key"] = "d3" * 20
    helpdesk.save_secret("secret_key", secrets["helpdesk key"])
    for name in ("acebot", "sandbox"):
        channel = ApiChannelFactory(kind=name, redirect_url="http://127.0.0.1:9/hook", secret=True)
        secrets[f"{name} former key"] = current_key(channel)
        channel.issue_secret(overlap=timedelta(hours=1))
        secrets[f"{name} key"] = current_key(channel)
        secrets[f"{name} former address"] = channel.path_token
        channel.issue_address()
        secrets[f"{name} address"] = channel.path_token
        secrets[f"{name} handover"] = Handover.prepare(channel)[1]
    secrets |= {"cloud address": cloud.path_token, "helpdesk address": helpdesk.path_token}
    for person in (vera(), boris(*(channel.watched.first() for channel in ApiChannel.objects.all()))):
        secrets[f"API token of {person.username}"] = ApiToken.issue(person, name="script")[1]
    secrets |= {"SECRET_KEY": settings.SECRET_KEY, "FIELD_KEYS": settings.FIELD_KEYS[0]}
    secrets["database password"] = str(settings.DATABASES["default"]["PASSWORD"])
    return {name: value for name, value in secrets.items() if len(value) >= 6}


def send_through_every_endpoint(secrets: dict[str, str]) -> None:
    """Send each secret through every endpoint."""
    acebot, cloud = ApiChannel.objects.get(kind="acebot"), ApiChannel.objects.get(kind="whatsapp_cloud")
    chat_channel, key = acebot.watched.get(), current_key(acebot)
    theirs = [value for name, value in secrets.items() if may_be_known_to_a_provider(name)]
    message = {"text": "Hello", "from": {"client_id": "79211234567", "name": "Anna"}}
    for secret in theirs:
        escaped = "".join(f"\\u{ord(character):04x}" for character in secret)
        body = {"api_token": key, "channel_id": chat_channel.pk, "message": message, "note": secret}
        post_raw("/uapi/chat/addMessage", json.dumps(body).replace(json.dumps(secret)[1:-1], escaped).encode())
        post_raw(acebot.webhook_path, {"chat_id": 1, "type": "odd", "said": f"<{secret}>"}, query=f"?x={secret}")
    for secret in secrets.values():
        Client().get("/uapi/chat/addMessage", {"api_token": secret})
        Client().get("/api/v1/contacts/", {"phone": secret}, headers={"authorization": f"Token {secret}x"})
        Client().get(f"/webhooks/acebot/{secret.replace('/', '')}x/")
        Client().get(f"/handover/{secret.replace('/', '')}x/")
        post_raw(
            acebot.webhook_path, {"token": secret, "authorization": f"Token {secret}"}, query=f"?api_token={secret}"
        )
    named = ["password", "api_token", "access_token", "app_secret", "authorization", "client_secret", "secret"]
    for name, secret in zip(named, UNKNOWN, strict=False):
        post_raw("/uapi/chat/addMessage", {"api_token": key, "channel_id": 0, "message": message, "x": {name: secret}})
        post_raw(acebot.webhook_path, {"inner": json.dumps({name: secret})}, query=f"?{name}={secret}")
        Client().post("/login/", {"username": "vera", "password": secret})
    known = "; ".join(value for name, value in secrets.items() if may_be_known_to_a_provider(name))
    words = f"authorization: Bearer {UNKNOWN[0]}; access_token={UNKNOWN[1]}; {known}"
    status = {"id": "wamid.9", "status": "failed", "timestamp": "1780000000", "errors": [{"code": 1, "title": known}]}
    value = {"metadata": {"phone_number_id": cloud.options["phone_number_id"]}, "statuses": [status]}
    entry = {"id": cloud.options["waba_id"], "changes": [{"field": "messages", "value": value}]}
    raw = json.dumps({"object": "whatsapp_business_account", "entry": [entry]}).encode()
    post_raw(cloud.webhook_path, raw, **proof(raw))
    processing.process_inbox()
    store_provider_texts(words, cloud=cloud, acebot=acebot)


def may_be_known_to_a_provider(name: str) -> bool:
    """Return whether a provider could know this secret.

    No provider knows passwords and tokens that we store hashed (API tokens, handover links), and we cannot find them by
    value. They arrive through their own headers, paths and forms.
    """
    return not name.startswith(("unknown", "API token", "password")) and not name.endswith("handover")


def store_provider_texts(words: str, *, cloud: ApiChannel, acebot: ApiChannel) -> None:
    """Store a provider's text in every place that keeps one."""
    account_updates.record_account_update(
        cloud, AccountUpdate(event="ACCOUNT_RESTRICTION", details=words, level="error")
    )
    cloud.update_provider_status(name=words, subscribed=words, quality=words)
    provider_sync._save_sync_state(cloud, error=words)
    template = TemplateFactory(api_channel=cloud, external_id="t1")
    provider_sync.apply_provider_change(
        cloud, TemplateChanged(status="REJECTED", external_id=template.external_id, reason=words)
    )
    delivery: Delivery = DeliveryFactory(api_channel=acebot, state=Delivery.State.DEAD, reason="retries_exhausted")
    attempt_values = {"started_at": timezone.now(), "duration_ms": 1, "verdict": "retry", "answer": words}
    Attempt.objects.bulk_create([Attempt(delivery=delivery, number=1, **attempt_values)])
    Alert.objects.create(kind=Alert.Kind.BREAKER, api_channel=acebot, details={"why": words})
    message_statuses.apply_statuses(cloud, [StatusChanged(status="failed", external_id="x", title=words[:300])])
    event = acebot.webhook_events.first()
    assert event is not None
    mark_event_failed(event, words)
    acebot.webhook_events.filter(pk=event.pk).update(traceback=f"Traceback\n{words}")
    logging.getLogger("bridge.x").error("said: %s", words)


def secrets_in(data: bytes | str, secrets: dict[str, str]) -> list[str]:
    """Return the names of the secrets that the data contains, in any encoding."""
    raw = data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass")
    return (
        [name for name, value in secrets.items() if find_secrets(raw, [value])]
        if find_secrets(raw, secrets.values())
        else []
    )


def command_lines() -> Iterator[bytes]:
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # the process has just ended
            yield file.read_bytes()


def crawl(
    client: Client, starts: list[str], secrets: dict[str, str], *, most: int = MOST_PAGES
) -> tuple[int, dict[str, list[str]]]:
    """Read pages and follow their links. Return the number of pages and the leaks by page."""
    waiting, known_links, leaks = list(starts), set(starts), {}
    number = 0
    while waiting and number < most:
        path = waiting.pop(0)
        response = client.get(path)
        number += 1
        content = b"".join(response) if response.streaming else response.content
        if names := secrets_in(content + str(response.headers).encode(), secrets):
            leaks[path] = names
        for link in re.findall(rb'href="(/[^"#]*)"', content):
            address = link.decode().replace("&amp;", "&")
            kind = re.sub(r"\d+", "1", address.partition("?")[0])  # one page of each kind
            if kind not in known_links and not re.search(r"logout|/static/|/media/|/files/|/phone/", address):
                known_links.add(kind)
                waiting.append(address)
    return number, leaks


def test_no_canary_is_found_anywhere(log: io.StringIO) -> None:
    secrets = seed()
    assert len(secrets) >= 27
    send_through_every_endpoint(secrets)
    assert Conversation.objects.exists()

    leaks: dict[str, Any] = {}
    for name in ("vera", "boris"):
        client = Client(raise_request_exception=False)
        person = ApiToken.objects.get(user__username=name).user
        client.force_login(person)
        starts = ["/", "/admin/", *routes.paths()] if name == "vera" else ["/", "/chats/", "/requests/"]
        pages, found = crawl(client, list(dict.fromkeys(starts)), secrets)
        assert pages > 10
        leaks |= {f"{name} {path}": names for path, names in found.items()}
        token = {"authorization": f"Token {secrets[f'API token of {name}']}"}
        for path in [path for path in routes.paths() if path.startswith("/api/")]:
            response = client.get(path, headers=token)
            if names := secrets_in(response.content, secrets):
                leaks[f"{name} API {path}"] = names
    if names := secrets_in(log.getvalue(), secrets):
        leaks["log"] = names
    if names := secrets_in(dump_every_table(), secrets):
        leaks["dump"] = names
    own = {name: secrets[name] for name in ("SECRET_KEY", "FIELD_KEYS", "database password") if name in secrets}
    if names := secrets_in(b"\n".join(command_lines()), own):
        leaks["process list"] = names

    assert leaks == {}


def test_a_canary_in_clear_text_is_found() -> None:
    """Check the search itself."""
    secrets = seed()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE channels_setup_apichannel SET name = %s", [secrets["acebot key"]])
    client = Client()
    client.force_login(ApiToken.objects.get(user__username="vera").user)

    assert "acebot key" in secrets_in(dump_every_table(), secrets)
    assert crawl(client, ["/admin/channels_setup/apichannel/"], secrets, most=1)[1] != {}
