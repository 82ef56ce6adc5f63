"""360dialog for direct customers: webhooks with a secret header, and its own URLs for health and templates."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone, translation

from bridge.inbox import processing
from bridge.models import Message, WebhookEvent
from channels_setup import account_settings, checks, onboarding
from channels_setup.models import ApiChannel, ChannelState
from channels_setup.providers import messengers
from channels_setup.providers.base import ApiRequest, ApiResponse
from channels_setup.providers.whatsapp_cloud.graph_webhooks import FIELD_READERS
from templates_registry.lifecycle import ChangeAuthor, Source
from templates_registry.models import Template
from templates_registry.provider import provider_sync
from templates_registry.transfer import file_formats, import_plan
from tests.cloud_accounts import APP_SECRET, KIND, cloud_account, proof
from tests.cloud_corpus import PHONE_NUMBER_ID, WABA_ID
from tests.factories import ApiChannelFactory, vera
from tests.pages import page_html, signed_in
from tests.receiver import Receiver

pytestmark = pytest.mark.usefixtures("in_english")

PROVIDER: Any = messengers()[KIND]
HEADER = PROVIDER.webhook_header
SECRET = "a-secret-of-the-header-0123456789"
PLAIN = {
    "phone_number_id": PHONE_NUMBER_ID,
    "waba_id": WABA_ID,
    "access_token": "D360-key-0000000000",
    "auth_header": "D360-API-KEY",
    "id_in_path": "no",
    "signature_header": "x-360dialog-signature",
}


def create_channel(base_url: str = "https://waba-v2.360dialog.io", **settings: str) -> ApiChannel:
    channel: Any = ApiChannelFactory(kind=KIND, secret=True, state=ChannelState.DRAFT)
    account_settings.save_values(channel, PLAIN | {"base_url": base_url} | settings)
    made: ApiChannel = channel
    return made


def text(words: str, *, number: str = PHONE_NUMBER_ID) -> bytes:
    item = {"from": "447700900101", "id": f"wamid.{words}", "type": "text", "text": {"body": words}}
    value = {"metadata": {"phone_number_id": number}, "messages": [item | {"timestamp": "1795336094"}]}
    entry = {"id": WABA_ID, "changes": [{"field": "messages", "value": value}]}
    return json.dumps({"object": "whatsapp_business_account", "entry": [entry]}).encode()


def post(client: Client, channel: ApiChannel, headers: dict[str, str], body: bytes | None = None) -> int:
    body = text("Привет") if body is None else body
    return client.post(channel.webhook_path, body, content_type="application/json", headers=headers).status_code


# --- webhooks ------------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("stored", "sent", "status"),
    [
        ({"webhook_secret": SECRET}, SECRET, 200),
        ({"webhook_secret": SECRET}, SECRET[:-1], 403),
        ({"webhook_secret": SECRET}, SECRET + "x", 403),
        ({"webhook_secret": SECRET}, "", 403),
        ({"webhook_secret": SECRET}, None, 403),
        ({"webhook_secret": SECRET}, "ключ", 403),
        ({"webhook_secret": SECRET}, APP_SECRET, 403),
        ({"app_secret": APP_SECRET}, APP_SECRET, 403),
        ({"app_secret": APP_SECRET}, "", 403),
        ({}, SECRET, 403),
        ({}, "", 403),
        ({"webhook_secret": SECRET, "app_secret": APP_SECRET}, SECRET, 200),
    ],
)
def test_only_the_exact_secret_header_is_accepted(
    client: Client, stored: dict[str, str], sent: str | None, status: int
) -> None:
    channel = create_channel(**stored)

    assert post(client, channel, {} if sent is None else {HEADER: sent}) == status
    assert WebhookEvent.objects.count() == (status == 200)


@pytest.mark.django_db
def test_a_signature_is_enough_if_both_secrets_are_stored(client: Client) -> None:
    channel = create_channel(webhook_secret=SECRET, app_secret=APP_SECRET, signature_header="x-hub-signature-256")
    body = text("Привет")

    assert post(client, channel, proof(body), body) == 200
    assert post(client, channel, {"x-hub-signature-256": SECRET}, body) == 403


@pytest.mark.django_db
def test_the_secret_header_is_not_stored_with_the_event(client: Client) -> None:
    channel = create_channel(webhook_secret=SECRET)
    assert post(client, channel, {HEADER: SECRET}) == 200
    processing.process_inbox()

    event = WebhookEvent.objects.get()
    assert SECRET not in f"{event.headers} {event.query_string} {event.error} {bytes(event.body).decode()}"
    assert Message.objects.get().text == "Привет"
    admin = signed_in(Client(), vera())
    for page in (
        reverse("admin:bridge_webhookevent_change", args=[event.pk]),
        reverse("admin:channels_setup_apichannel_change", args=[channel.pk]),
    ):
        assert SECRET not in page_html(admin, page)


@pytest.mark.django_db
def test_numbers_with_the_same_header_share_the_address(client: Client) -> None:
    first, second = (
        create_channel(webhook_secret=SECRET),
        create_channel(webhook_secret=SECRET, phone_number_id="109000000000803"),
    )
    stranger = create_channel(webhook_secret=SECRET + "!", phone_number_id="109000000000804")
    for number in ("109000000000803", "109000000000804"):
        assert post(client, first, {HEADER: SECRET}, text(number, number=number)) == 200
    processing.process_inbox()

    assert [row.api_channel for row in Message.objects.all()] == [second]
    assert WebhookEvent.objects.get(state="unrouted").api_channel == first
    account_settings.save_values(stranger, {"webhook_secret": SECRET})
    processing.reprocess_events([WebhookEvent.objects.get(state="unrouted").pk])
    processing.process_inbox()
    assert Message.objects.get(api_channel=stranger).text == "109000000000804"


# --- the channel page -------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_the_secret_is_shown_once_and_a_new_one_replaces_it_after_a_day(client: Client) -> None:
    channel = create_channel()
    assert [setting.name for setting in account_settings.missing_settings(channel)] == ["app_secret"]
    admin = signed_in(Client(), vera())
    page = reverse("admin:channels_setup_apichannel_change", args=[channel.pk])
    press = reverse("admin:channels_setup_apichannel_action", args=[channel.pk, "new-webhook-secret"])
    assert HEADER in admin.get(page).content.decode()

    shown_once = admin.post(press).content.decode()
    first = channel.account().credential("webhook_secret")
    assert first in shown_once and HEADER in shown_once and channel.webhook_url in shown_once and len(first) >= 32
    after = admin.get(page).content.decode()
    assert first not in after and f"••••{first[-4:]}" in after
    channel.refresh_from_db()
    assert (channel.state, account_settings.missing_settings(channel)) == (ChannelState.WAITING, [])

    admin.post(press)
    second = channel.account().credential("webhook_secret")
    assert second != first
    assert (post(client, channel, {HEADER: first}), post(client, channel, {HEADER: second})) == (200, 200)
    channel.credentials.filter(expires_at__isnull=False).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert (post(client, channel, {HEADER: first}), post(client, channel, {HEADER: second})) == (403, 200)


@pytest.mark.django_db
def test_an_own_secret_is_accepted_if_it_is_long_enough(client: Client) -> None:
    channel = create_channel()
    form = account_settings.form_fields(channel)["account_webhook_secret"]

    assert form.clean(SECRET) == SECRET
    with pytest.raises(ValidationError, match="16"):
        form.clean("short")


@pytest.mark.django_db
def test_the_command_line_requires_exactly_one_secret(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--phone-number-id", PHONE_NUMBER_ID, "--waba-id", WABA_ID, "--access-token", "D360-key-0000000000")
    common = ("channel", "add", "--kind", KIND, "--name", "360", "--chat-channel", "Магазин", *arguments)

    with pytest.raises(CommandError, match="App secret / Webhook secret"):
        call_command(*common)
    call_command(*common, "--webhook-secret", SECRET, "--output", "json")
    assert ApiChannel.objects.get().account().credential("webhook_secret") == SECRET


@pytest.mark.django_db
def test_a_wrong_header_is_reported_on_the_page(client: Client) -> None:
    channel = create_channel(webhook_secret=SECRET)
    assert post(client, channel, {HEADER: "another"}) == 403

    channel.refresh_from_db()
    with translation.override("en"):
        notes = [str(step.note) for step in onboarding.list_steps(channel)]
    assert any("different webhook secret" in note for note in notes)


# --- its own URLs ------------------------------------------------------------------------------------------


def health(**changed: Any) -> dict[str, Any]:
    entities = [
        {"entity_type": "PHONE_NUMBER", "id": PHONE_NUMBER_ID, "can_send_message": "AVAILABLE"},
        {"entity_type": "WABA", "id": WABA_ID, "can_send_message": "AVAILABLE"},
        {"entity_type": "APP", "id": "1", "can_send_message": "AVAILABLE", "additional_info": []},
    ]
    return {"health_status": {"can_send_message": "AVAILABLE", "entities": entities}, "id": PHONE_NUMBER_ID} | changed


NUMBER = {"display_phone_number": "+44 7700 900802", "verified_name": "Shop", "quality_rating": "GREEN"}
BLOCKED = {
    "can_send_message": "BLOCKED",
    "entities": [
        {
            "entity_type": "WABA",
            "id": WABA_ID,
            "can_send_message": "BLOCKED",
            "errors": [
                {"error_code": 141006, "error_description": "No payment method.", "possible_solution": "Add one."}
            ],
        }
    ],
}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("status", "answer", "level", "words"),
    [
        (200, health(**NUMBER), "ok", "+44 7700 900802"),
        (200, health(), "ok", "confirms the account"),
        (200, {"health_status": {"can_send_message": "AVAILABLE", "entities": []}}, "ok", "confirms the account"),
        (200, health(health_status=BLOCKED), "error", "No payment method. Add one."),
        (200, health(health_status={"can_send_message": "LIMITED"}), "warning", "limited"),
        (200, health(id="109000000000999"), "error", "109000000000999"),
        (401, {"meta": {"success": False, "http_code": 401}}, "error", "access token is not valid"),
        (404, {"meta": {"success": False}}, "warning", "does not report the number's status"),
        (200, {"health_status": "?", "id": [1]}, "ok", "confirms the account"),
    ],
)
def test_a_healthy_account_is_found_by_the_key(
    receiver: Receiver, status: int, answer: dict[str, Any], level: str, words: str
) -> None:
    receiver.answer("/v1/configs/webhook", status=404)
    receiver.answer("/health_status", status=status, body=answer)
    channel = create_channel(receiver.url(""), webhook_secret=SECRET)

    found = {(finding.level, str(finding.sentence)) for finding in checks._check_account(channel)}

    assert [one for one in found if one[0] == level and words in one[1]], found
    assert not [one for one in found if "no such" in one[1]]
    if level == "ok":
        assert not [one for one in found if one[0] == "error"], found
    paths = {request.path.split("?")[0] for request in receiver.requests}
    assert paths == {"/health_status", "/v1/configs/webhook"}
    assert all(request.headers["d360-api-key"] == PLAIN["access_token"] for request in receiver.requests)
    channel.refresh_from_db()
    assert bool(channel.provider_status.get("checked_at")) is (status == 200)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("answer", "level"),
    [({"url": "https://okno.example/webhooks/x/", "headers": {HEADER: "…"}}, "ok"), ({"url": ""}, "error")],
)
def test_the_check_reports_the_webhook_url(receiver: Receiver, answer: dict[str, Any], level: str) -> None:
    receiver.answer("/v1/configs/webhook", body=answer)
    receiver.answer("/health_status", body=health(**NUMBER))
    channel = create_channel(receiver.url(""), webhook_secret=SECRET)

    assert level in {finding.level for finding in checks._check_account(channel) if "ebhook" in str(finding.sentence)}


# --- templates -------------------------------------------------------------------------------------------


def template_row(number: int, **changed: Any) -> dict[str, Any]:
    return {
        "id": f"Abc{number}WT",
        "external_id": f"77000{number}",
        "name": f"order_{number}",
        "namespace": "c8ae5f90_307a_ca4c_b8f6_d1e2a2573574",
        "language": "ru",
        "category": "UTILITY",
        "status": "approved",
        "rejected_reason": "NONE",
        "quality_score": {"reasons": None, "score": "UNKNOWN"},
        "components": [{"type": "BODY", "text": f"Заказ {number} готов."}],
    } | changed


@pytest.mark.django_db
def test_its_template_list_is_read_page_by_page(receiver: Receiver) -> None:
    rows = [template_row(number) for number in range(5)]
    for offset in (0, 2, 4):
        body = {"count": 2, "total": 5, "limit": 2, "offset": offset, "waba_templates": rows[offset : offset + 2]}
        receiver.answer("/v1/configs/templates", body=body, times=1)
    channel = create_channel(receiver.url(""), webhook_secret=SECRET)

    result = provider_sync.sync_channel(channel)

    assert (result.error, result.new) == ("", 5)
    assert [request.path.split("offset=")[1] for request in receiver.requests] == ["0", "2", "4"]
    templates = Template.objects.filter(api_channel=channel)
    assert set(templates.values_list("status", flat=True)) == {"approved"}
    assert set(templates.values_list("external_id", flat=True)) == {f"77000{number}" for number in range(5)}


@pytest.mark.parametrize(
    ("body", "rows", "after"),
    [
        ({"waba_templates": [template_row(1)]}, 1, ""),
        ({"waba_templates": [template_row(1)], "total": 1, "offset": 0}, 1, ""),
        ({"waba_templates": [template_row(1)], "total": "3", "offset": "0"}, 1, "1"),
        ({"waba_templates": [], "total": 3, "offset": 0}, 0, ""),
        ({"waba_templates": []}, 0, ""),
        ({"data": [template_row(1)]}, 1, ""),
    ],
)
def test_both_formats_of_a_list_are_read(body: dict[str, Any], rows: int, after: str) -> None:
    page = PROVIDER.read_templates(ApiResponse(status=200, headers={}, body=json.dumps(body).encode()))

    assert (len(page.rows), page.after) == (rows, after)


@pytest.mark.django_db
def test_its_export_is_imported() -> None:
    channel = create_channel(webhook_secret=SECRET)
    data = json.dumps(
        {"count": 2, "total": 2, "waba_templates": [template_row(1), template_row(2, status="rejected")]}
    ).encode()

    plan = import_plan.build_plan(file_formats.read_file(data), api_channel=channel)
    import_plan.apply_plan(plan, by=ChangeAuthor(source=Source.IMPORT))

    assert sorted(Template.objects.values_list("name", "status")) == [("order_1", "approved"), ("order_2", "rejected")]


def test_a_template_is_submitted_to_its_url() -> None:
    account = cloud_account(base_url="https://waba-v2.360dialog.io", auth_header="D360-API-KEY", id_in_path="no")
    made = PROVIDER.build_template_request(
        {"name": "a", "language": "ru", "category": "UTILITY", "components": [{"type": "BODY", "text": "Да"}]},
        account,
        samples={},
    )

    assert isinstance(made, ApiRequest)
    assert made.url == "https://waba-v2.360dialog.io/v1/configs/templates"


# --- what to subscribe to --------------------------------------------------------------------------------


@pytest.mark.django_db
def test_the_page_lists_every_webhook_field_that_is_read() -> None:
    assert set(PROVIDER.webhook_fields) == set(FIELD_READERS)
    channel = create_channel(webhook_secret=SECRET)
    page = signed_in(Client(), vera()).get(reverse("admin:channels_setup_apichannel_change", args=[channel.pk]))

    content = page.content.decode()
    assert [name for name in FIELD_READERS if f"<code>{name}</code>" not in content] == []
