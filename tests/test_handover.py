"""The handover page: opened exactly once, readable in one browser, gone when it expires."""

import base64
import hashlib
import hmac
import json
import re
from datetime import timedelta

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from channels_setup import handover as paper
from channels_setup.models import ApiChannel, ChannelState, Handover
from channels_setup.providers.base import RawRequest
from tests.factories import ApiChannelFactory
from tests.scenarios.secret_traces import current_key

pytestmark = pytest.mark.django_db


@pytest.fixture
def channel() -> ApiChannel:
    made: ApiChannel = ApiChannelFactory(
        kind="acebot", redirect_url="http://127.0.0.1:8080/hook", state=ChannelState.DRAFT, secret=True
    )
    return made


def link(channel: ApiChannel, language: str = "en") -> str:
    _handover, token = Handover.prepare(channel, language=language)
    return reverse("handover", args=[token])


def open_page(client: Client, address: str) -> str:
    answer = client.post(address, {"do": "open"}, follow=True)
    assert answer.status_code == 200
    return answer.content.decode()


def test_viewing_the_link_does_not_use_it_up(client: Client, channel: ApiChannel) -> None:
    address = link(channel)

    pages = [client.get(address).content.decode() for _look in range(3)]

    assert all(current_key(channel) not in page for page in pages)
    assert Handover.objects.get().stage == "prepared"
    assert current_key(channel) in open_page(client, address)


def test_the_page_shows_exactly_what_the_provider_needs(client: Client, channel: ApiChannel) -> None:
    page = open_page(client, link(channel))

    shop = channel.watched.get()
    for needed in (
        current_key(channel),
        f">{shop.pk}<",
        channel.webhook_url,
        "/uapi/chat/addMessage",
        channel.redirect_url,
    ):
        assert needed in page
    assert "webhook-signature" in page and "message_id" in page


def test_the_page_opens_once_and_stays_readable_only_in_that_browser(client: Client, channel: ApiChannel) -> None:
    address = link(channel)
    open_page(client, address)
    gleb = Client()

    again = client.get(address)
    looked = gleb.get(address)
    tried = gleb.post(address, {"do": "open"})

    assert current_key(channel) in again.content.decode()
    for answer in (looked, tried):
        assert answer.status_code == 410
        assert "was opened at" in answer.content.decode() and current_key(channel) not in answer.content.decode()


def test_a_forged_cookie_opens_nothing(client: Client, channel: ApiChannel) -> None:
    address = link(channel)
    open_page(Client(), address)
    handover = Handover.objects.get()
    client.cookies[f"handover_{handover.pk}"] = str(handover.pk)

    answer = client.get(address)

    assert answer.status_code == 410 and current_key(channel) not in answer.content.decode()


def test_the_cookie_of_one_handover_does_not_open_another(client: Client, channel: ApiChannel) -> None:
    other = ApiChannelFactory(kind="acebot", secret=True)
    open_page(client, link(channel))
    address = link(other)

    answer = client.get(address)

    assert current_key(other) not in answer.content.decode() and "Open" in answer.content.decode()


def test_an_expired_link_shows_nothing_even_where_it_was_open(client: Client, channel: ApiChannel) -> None:
    address = link(channel)
    open_page(client, address)
    Handover.objects.update(expires_at=timezone.now() - timedelta(seconds=1))

    answer = client.get(address)

    assert answer.status_code == 410 and "expired" in answer.content.decode()
    assert current_key(channel) not in answer.content.decode()


def test_a_wrong_link_is_not_found(client: Client) -> None:
    assert client.get(reverse("handover", args=["x" * 32])).status_code == 404
    assert client.post(reverse("handover", args=["x" * 32]), {"do": "open"}).status_code == 404


def test_a_new_link_ends_the_unopened_one(client: Client, channel: ApiChannel) -> None:
    first, second = link(channel), link(channel)

    answer = client.post(first, {"do": "open"})

    assert answer.status_code == 410
    assert current_key(channel) in open_page(client, second)


def test_a_key_created_after_the_opening_is_not_shown_to_the_old_reader(client: Client, channel: ApiChannel) -> None:
    address = link(channel)
    open_page(client, address)
    new = channel.issue_secret(overlap=timedelta(hours=24)).reveal()

    page = client.get(address).content.decode()

    assert new not in page and "key was changed" in page


def test_the_stages_go_from_prepared_to_the_first_event(client: Client, channel: ApiChannel) -> None:
    address = link(channel)
    stages = [Handover.objects.get().stage]

    open_page(client, address)
    stages.append(Handover.objects.get().stage)
    client.post(address, {"do": "confirm"})
    stages.append(Handover.objects.get().stage)
    channel.record_inbound()
    stages.append(Handover.objects.get().stage)

    assert stages == ["prepared", "opened", "confirmed", "first_event"]
    channel.refresh_from_db()
    assert channel.state == ChannelState.LIVE


def test_an_unopened_handover_cannot_be_confirmed(client: Client, channel: ApiChannel) -> None:
    address = link(channel)
    client.post(address, {"do": "confirm"})
    open_page(Client(), address)
    client.post(address, {"do": "confirm"})

    assert Handover.objects.get().confirmed_at is None


@pytest.mark.parametrize(("language", "word"), [("ru", 'lang="ru"'), ("en", 'lang="en"')])
def test_the_page_is_shown_in_the_language_chosen_for_it(
    client: Client, channel: ApiChannel, language: str, word: str
) -> None:
    address = link(channel, language)
    other = {"ru": "en", "en": "ru"}[language]

    assert word in client.get(address, headers={"accept-language": other}).content.decode()
    assert f'lang="{other}"' in client.get(f"{address}?lang={other}").content.decode()


def test_the_page_is_not_cached_and_loads_nothing_from_elsewhere(client: Client, channel: ApiChannel) -> None:
    address = link(channel)
    open_page(client, address)

    answer = client.get(address)

    assert "no-store" in answer["Cache-Control"] and answer["Referrer-Policy"] == "same-origin"
    assert "unsafe" not in answer["Content-Security-Policy"]
    assert not re.search(r"<script>|style=|onclick", answer.content.decode())


def test_the_cookie_is_sent_only_to_this_page(client: Client, channel: ApiChannel) -> None:
    address = link(channel)
    answer = client.post(address, {"do": "open"})

    cookie = answer.cookies[f"handover_{Handover.objects.get().pk}"]

    assert cookie["path"] == address and cookie["httponly"] and cookie["samesite"] == "Lax"
    assert 0 < int(cookie["max-age"]) <= 24 * 3600


def test_the_example_event_is_signed_as_the_page_describes(channel: ApiChannel) -> None:
    request = paper.example_request(channel, paper.example_event(channel, channel.watched.get()))
    space: dict[str, object] = {}
    exec(paper.VERIFY_EXAMPLE, space)
    signed = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + request.body

    expected = base64.b64encode(hmac.new(current_key(channel).encode(), signed, hashlib.sha256).digest()).decode()

    assert request.headers["webhook-signature"] == f"v1,{expected}"
    assert json.loads(request.body)["message_id"] == paper.EXAMPLE_MESSAGE
    now = str(int(timezone.now().timestamp()))
    fresh = {**request.headers, "webhook-timestamp": now}
    assert space["is_genuine"](fresh, request.body, current_key(channel)) is False  # type: ignore[operator]  # from exec


@pytest.mark.parametrize("kind", ["acebot", "sandbox"])
def test_the_example_status_is_accepted(kind: str) -> None:
    channel = ApiChannelFactory(kind=kind)
    body = json.dumps(dict(channel.provider.status_example)).encode()

    (fact,) = channel.provider.parse(
        RawRequest(method="POST", query_string="", content_type="application/json", headers={}, body=body),
        channel.account_without_secrets(),
    )

    assert fact.message_id == paper.EXAMPLE_MESSAGE


def test_the_example_call_is_answered_with_a_chat(client: Client, channel: ApiChannel) -> None:
    call = json.loads(paper.build_sheet(Handover.prepare(channel)[0]).call) | {"api_token": current_key(channel)}

    answer = client.post(reverse("uapi-chat/addMessage"), call, content_type="application/json").json()

    assert answer["chat_id"] and answer["channel_id"] == channel.watched.get().pk


def test_the_page_shows_the_public_url(channel: ApiChannel) -> None:
    assert paper.build_sheet(Handover.prepare(channel)[0]).add_message_url.startswith(settings.PUBLIC_URL)
