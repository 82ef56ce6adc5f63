"""Contract tests: every provider with every recorded payload. A new provider gets them without further code.

Recordings are tests/payloads/<kind>/*.json (or .form). A messenger without recordings fails here.
"""

import copy
import inspect
import json
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from bridge.inbox import processing
from bridge.models import WebhookEvent
from channels_setup.codecs.bodies import BadBody
from channels_setup.providers import CONTRACT, all_providers, helpdesks, messengers
from channels_setup.providers.base import (
    ApiRequest,
    ApiResponse,
    Fact,
    GroupActivity,
    ItemUnreadable,
    MessageReceived,
    Messenger,
    Outcome,
    RequestRejected,
    SampleReceived,
    StatusChanged,
    TemplateChanged,
    TemplatePage,
    judge_http,
)
from tests.factories import ApiChannelFactory
from tests.scenarios.provider_contracts import AUTHENTICATED, PAYLOADS, account_of, build_raw_request, sample_delivery

RECORDED = [
    pytest.param(kind, path, id=f"{kind}-{path.stem}")
    for kind in messengers()
    for path in sorted((PAYLOADS / kind).glob("*.json"))
]
MANY = 40  # of a kind with more recordings, every fourth is used for the damage tests
DAMAGED = [
    pytest.param(kind, path, id=f"{kind}-{path.stem}")
    for kind in messengers()
    for paths in [sorted((PAYLOADS / kind).glob("*.json"))]
    for path in paths[:: 4 if len(paths) > MANY else 1]
]


def channel_of(kind: str) -> Any:
    if kind in AUTHENTICATED:
        return AUTHENTICATED[kind].cloud_channel()
    return ApiChannelFactory(kind=kind, redirect_url="http://127.0.0.1:9/", secret=True)


def proof(kind: str, body: bytes) -> dict[str, str]:
    return AUTHENTICATED[kind].proof(body) if kind in AUTHENTICATED else {}


def test_a_kind_is_named_after_its_package() -> None:
    folder = Path(__file__).parent.parent / "channels_setup" / "providers"
    modules = {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/__init__.py")}

    assert set(all_providers()) == modules - {"__init__", *CONTRACT}
    assert all(provider.kind == kind for kind, provider in all_providers().items())


def test_every_kind_is_a_messenger_or_a_helpdesk() -> None:
    assert set(messengers()) | set(helpdesks()) == set(all_providers())
    assert not set(messengers()) & set(helpdesks())
    assert all(str(provider.label) for provider in all_providers().values())


@pytest.mark.parametrize("kind", messengers())
def test_every_messenger_has_recordings(kind: str) -> None:
    assert list((PAYLOADS / kind).glob("*.json")), f"record real payloads in {PAYLOADS / kind} first"


@pytest.mark.parametrize(("kind", "path"), RECORDED)
def test_a_recording_becomes_facts_with_ids(kind: str, path: Path) -> None:
    facts = messengers()[kind].parse(build_raw_request(path.read_bytes()), account_of(kind))

    assert facts or kind in AUTHENTICATED  # their own tests say which recordings contain no facts
    for fact in facts:
        assert isinstance(fact, Fact)
        if isinstance(fact, MessageReceived):
            assert fact.external_id and (fact.contact.external_id or fact.contact.user_id)
            assert fact.text or fact.files
        if isinstance(fact, StatusChanged):
            assert fact.message_id or fact.external_id
            assert fact.status in ("sent", "delivered", "read", "failed")
        if isinstance(fact, TemplateChanged):
            assert fact.external_id or (fact.name and fact.language)
            assert fact.status or fact.quality or fact.category or fact.reread


@pytest.mark.parametrize(("kind", "path"), DAMAGED)
def test_a_damaged_recording_is_rejected_with_an_explanation(kind: str, path: Path) -> None:
    recorded = json.loads(path.read_text())
    provider = messengers()[kind]

    for damaged in mutations(recorded):
        try:
            provider.parse(build_raw_request(json.dumps(damaged).encode()), account_of(kind))
        except BadBody as problem:
            assert str(problem)


def mutations(recorded: Any) -> list[Any]:
    """Yield the recording with each value in turn removed or replaced by one of a wrong type."""
    found = []
    for path in _paths(recorded):
        for wrong in (None, 5, -1.5, True, "", "\0", "x" * 5000, [], {}, [None], 10**40):
            changed = copy.deepcopy(recorded)
            _set(changed, path, wrong)
            found.append(changed)
    return found


def _paths(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path for key, inner in items for path in [(*here, key), *_paths(inner, (*here, key))]]


def _set(value: Any, path: tuple[Any, ...], wrong: Any) -> None:
    for key in path[:-1]:
        value = value[key]
    value[path[-1]] = wrong


@pytest.mark.parametrize("kind", messengers())
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", ""])
def test_only_a_post_is_accepted_as_a_webhook(kind: str, method: str) -> None:
    with pytest.raises(RequestRejected):
        messengers()[kind].authenticate(build_raw_request(b"{}", method=method), account_of(kind))


@pytest.mark.django_db
@pytest.mark.parametrize(("kind", "path"), DAMAGED)
def test_a_recorded_webhook_is_stored_raw_and_processed(client: Client, kind: str, path: Path) -> None:
    channel, body = channel_of(kind), path.read_bytes()

    response = client.post(channel.webhook_path, body, content_type="application/json", headers=proof(kind, body))
    processing.process_inbox()

    assert response.status_code == 200
    event = WebhookEvent.objects.get(routed_from=None)
    assert bytes(event.body) == path.read_bytes()
    assert event.state == "processed"
    facts = facts_in(kind, body)
    remarked = (ItemUnreadable, GroupActivity, SampleReceived)
    is_remarked = not facts or any(isinstance(fact, remarked) for fact in facts)
    is_put_aside = WebhookEvent.objects.filter(routed_from=event.pk, state="unrouted").exists()
    assert bool(event.error) is (is_remarked or is_put_aside)


def facts_in(kind: str, body: bytes) -> list[Fact]:
    return messengers()[kind].parse(build_raw_request(body), account_of(kind))


@pytest.mark.django_db
@pytest.mark.parametrize("kind", [kind for kind, provider in messengers().items() if provider.signs_requests])
def test_an_unauthenticated_webhook_is_not_stored(client: Client, kind: str) -> None:
    channel = channel_of(kind)
    body = sorted((PAYLOADS / kind).glob("*.json"))[0].read_bytes()
    others = proof(kind, body + b" ")
    for headers in ({}, others, dict.fromkeys(others, "")):
        response = client.post(channel.webhook_path, body, content_type="application/json", headers=headers)
        assert response.status_code == 403

    assert not WebhookEvent.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize(("kind", "path"), DAMAGED)
def test_a_webhook_is_rejected_at_another_channels_path(client: Client, kind: str, path: Path) -> None:
    channel, body = channel_of(kind), path.read_bytes()
    for token in (channel.path_token[:-1], channel.path_token.swapcase(), channel.path_token + "x"):
        headers = proof(kind, body)
        response = client.post(f"/webhooks/{kind}/{token}/", body, content_type="application/json", headers=headers)
        assert response.status_code == 404

    assert not WebhookEvent.objects.exists()


@pytest.mark.parametrize("kind", messengers())
def test_a_message_yields_a_request_or_an_outcome(kind: str) -> None:
    made = messengers()[kind].build_message_request(sample_delivery(), account_of(kind))

    assert isinstance(made, ApiRequest | Outcome)
    if isinstance(made, ApiRequest):
        assert made.url.startswith("https://")
        assert "Да 🙌" in made.body.decode()


@pytest.mark.parametrize("kind", messengers())
def test_the_same_delivery_yields_the_same_bytes(kind: str) -> None:
    provider = messengers()[kind]

    assert provider.build_message_request(sample_delivery(), account_of(kind)) == provider.build_message_request(
        sample_delivery(), account_of(kind)
    )


@pytest.mark.parametrize("kind", messengers())
def test_no_return_value_of_a_provider_shows_a_secret(kind: str) -> None:
    made = messengers()[kind].build_message_request(sample_delivery(), account_of(kind))

    secrets = list(account_of(kind).all_secrets())
    shown = repr(account_of(kind)) + repr(made)
    if isinstance(made, ApiRequest):
        shown += made.url + made.body.decode()
    assert secrets and not [secret for secret in secrets if secret in shown]


# Methods that raise NotImplementedError in the base class, and the capability that a kind declares with them.
OPTIONAL_METHODS = {
    "shares_webhook_address": ("pack_items",),
    "sends_read_receipts": ("build_read_receipt_request",),
    "accepts_uploads": ("build_upload_request", "read_upload_id"),
    "serves_files_by_id": ("build_file_location_request", "read_file_location", "build_file_download_request"),
    "lists_templates": ("fetch_templates",),
    "manages_templates": (
        *("upload_template_sample", "build_template_request", "read_submitted_template", "build_template_deletion"),
    ),
}


@pytest.mark.parametrize("kind", messengers())
def test_a_kind_implements_what_its_capabilities_need(kind: str) -> None:
    provider = messengers()[kind]
    source = Path(inspect.getfile(Messenger)).read_text()
    raising = source.count("raise NotImplementedError(") - 1  # build_message_request: every kind has it

    assert raising == sum(map(len, OPTIONAL_METHODS.values()))
    for capability, methods in OPTIONAL_METHODS.items():
        for method in methods if getattr(provider, capability) else ():
            assert getattr(type(provider), method) is not getattr(Messenger, method), (capability, method)


LISTING = [kind for kind, provider in messengers().items() if provider.lists_templates]


def test_kinds_that_list_templates_are_declared_and_tested() -> None:
    assert LISTING
    for kind, provider in messengers().items():
        if kind not in LISTING:
            with pytest.raises(NotImplementedError):
                provider.fetch_templates(account_of(kind))


@pytest.mark.parametrize("kind", LISTING)
def test_the_first_page_of_templates_is_returned_or_requested(kind: str) -> None:
    made = messengers()[kind].fetch_templates(account_of(kind))

    assert isinstance(made, ApiRequest | TemplatePage)
    if isinstance(made, ApiRequest):
        assert made.url.startswith("https://")
        assert not [secret for secret in account_of(kind).all_secrets() if secret in made.url + repr(made)]
    else:
        assert made.rows and all({"name", "language", "status", "components"} <= set(row) for row in made.rows)


@pytest.mark.parametrize("kind", LISTING)
def test_pages_of_templates_have_no_duplicates_and_end(kind: str) -> None:
    provider, after, ids = messengers()[kind], "", []
    for _number in range(100):
        page = provider.fetch_templates(account_of(kind), after=after)
        if isinstance(page, ApiRequest):
            answer = {"data": [{"id": after or "1"}], "paging": {"cursors": {"after": "2"}, "next": "…"}}
            answer = answer if not after else {"data": [{"id": "3"}]}
            page = provider.read_templates(ApiResponse(status=200, headers={}, body=json.dumps(answer).encode()))
        ids += [row["id"] for row in page.rows]
        after = page.after
        if not after:
            break

    assert after == ""
    assert len(ids) == len(set(ids)) > 1


@pytest.mark.parametrize("kind", LISTING)
@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff\x00", b"[]", b'{"data": 5}', b'{"data": [], "paging": 7}'])
def test_a_response_without_templates_is_rejected_with_an_explanation(kind: str, body: bytes) -> None:
    with pytest.raises(BadBody) as problem:
        messengers()[kind].read_templates(ApiResponse(status=200, headers={}, body=body))

    assert str(problem.value)


@pytest.mark.parametrize("kind", messengers())
@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff\x00", b"[" * 5000, b'{"error": 5}', b"9" * 5000])
def test_any_response_is_judged(kind: str, body: bytes) -> None:
    for status in (200, 201, 204, 301, 400, 401, 404, 410, 429, 500, 503):
        outcome = messengers()[kind].judge_response(ApiResponse(status=status, headers={}, body=body))
        assert outcome.verdict in ("accepted", "retry", "permanent", "pause", "unknown")
        if outcome.verdict == "accepted":
            assert status < 300


def test_retry_after_is_read_as_seconds_or_date_within_limits() -> None:
    def waits(value: str) -> float | None:
        return judge_http(ApiResponse(status=429, headers={"retry-after": value}, body=b"")).retry_after

    assert waits("120") == 120
    assert waits("Fri, 01 Jan 2100 00:00:00 GMT") > 1e9  # type: ignore[operator]  # a date is not None
    assert waits("Mon, 01 Jan 2001 00:00:00 GMT") == 0
    assert [waits(value) for value in ("", "soon", "-5", "1e9", "²", "12:00")] == [None] * 6
