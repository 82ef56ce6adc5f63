"""Rules of the Cloud API format that no recording shows. Each one was once broken."""

import json
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import translation

from channels_setup.admin import account_status
from channels_setup.providers import messengers
from channels_setup.providers.base import (
    CHOICE,
    AccountUpdate,
    ApiResponse,
    ContactInfo,
    Fact,
    FileLocation,
    Outcome,
    RawRequest,
    StatusChanged,
)
from channels_setup.providers.whatsapp_cloud.graph_account import THROUGHPUT
from tests.cloud_accounts import KIND, cloud_account, cloud_channel
from tests.cloud_corpus import PHONE_NUMBER_ID, WABA_ID
from tests.factories import vera

PROVIDER: Any = messengers()[KIND]
SIMULATOR = {"base_url": "https://waba-v2.360dialog.io", "auth_header": "D360-API-KEY", "id_in_path": "no"}


def facts_of(field: str, value: dict[str, Any]) -> list[Fact]:
    body = {"object": "whatsapp_business_account", "entry": [{"id": WABA_ID, "changes": [{"field": field}]}]}
    body["entry"][0]["changes"][0]["value"] = value  # type: ignore[index]  # as just built
    request = RawRequest(
        method="POST", query_string="", content_type="application/json", headers={}, body=json.dumps(body).encode()
    )
    found: list[Fact] = PROVIDER.parse(request, cloud_account())
    return found


def answered(status: int, body: Any) -> Outcome:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    outcome: Outcome = PROVIDER.judge_message_response(ApiResponse(status=status, headers={}, body=raw))
    return outcome


# --- webhooks -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value", "level"),
    [
        ("phone_number_quality_update", {"event": "FLAGGED"}, "error"),
        ("phone_number_quality_update", {"event": "UNFLAGGED", "current_limit": "TIER_2K"}, "ok"),
        ("account_update", {"event": "DISABLED_UPDATE", "ban_info": {"waba_ban_state": "DISABLE"}}, "error"),
        ("account_update", {"event": "DISABLED_UPDATE", "ban_info": {"waba_ban_state": "REINSTATE"}}, "ok"),
        ("account_review_update", {"decision": "REJECTED"}, "error"),
        ("account_review_update", {"decision": "APPROVED"}, "ok"),
    ],
)
def test_good_account_updates_are_not_shown_as_problems(field: str, value: dict[str, Any], level: str) -> None:
    [update] = facts_of(field, value)

    assert isinstance(update, AccountUpdate)
    assert update.level == level


def test_account_updates_contain_no_empty_and_no_repeated_words() -> None:
    alert = {
        "alert_type": "LIMIT_FAILED",
        "alert_severity": "CRITICAL",
        "alert_status": "ACTIVE",
        "alert_description": "",
    }

    [update] = facts_of("account_alerts", {"entity_type": "WABA", "alert_info": alert})

    assert isinstance(update, AccountUpdate)
    assert (update.event, update.details) == ("LIMIT_FAILED", "CRITICAL · ACTIVE")


def messages_value(**more: Any) -> dict[str, Any]:
    metadata = {"display_phone_number": "15550100801", "phone_number_id": PHONE_NUMBER_ID}
    return {"messaging_product": "whatsapp", "metadata": metadata, **more}


def test_errors_next_to_statuses_become_account_updates() -> None:
    error = {"code": 131031, "title": "Account locked", "error_data": {"details": "Your account has been locked."}}
    status = {"id": "wamid.1", "status": "sent", "timestamp": "1790000000", "recipient_id": "447700900101"}

    facts = facts_of("messages", messages_value(statuses=[status], errors=[error]))

    assert [type(fact) for fact in facts] == [StatusChanged, AccountUpdate]
    assert "Your account has been locked." in facts[1].details  # type: ignore[union-attr]  # as just seen


def test_a_failed_status_without_a_reason_takes_the_error_next_to_it() -> None:
    error = {"code": 131026, "title": "Message undeliverable"}
    status = {"id": "wamid.1", "status": "failed", "timestamp": "1790000000", "recipient_id": "447700900101"}

    [fact] = facts_of("messages", messages_value(statuses=[status], errors=[error]))

    assert isinstance(fact, StatusChanged)
    assert (fact.code, fact.reason) == ("131026", "wa_undeliverable")


def test_the_sender_is_read_from_the_only_contact_if_the_message_has_none() -> None:
    item = {"id": "wamid.1", "timestamp": "1790000000", "type": "text", "text": {"body": "Да"}}
    card = {"profile": {"name": "Анна"}, "user_id": "GB.1234567890"}

    [fact] = facts_of("messages", messages_value(contacts=[card], messages=[item]))

    assert fact.contact == ContactInfo(user_id="GB.1234567890", name="Анна")  # type: ignore[union-attr]  # a message


def test_the_date_when_a_template_is_disabled_is_part_of_the_reason() -> None:
    known = {"message_template_id": 1, "message_template_name": "order", "message_template_language": "ru"}
    [fact] = facts_of(
        "message_template_status_update",
        known | {"event": "DISABLED", "reason": "NONE", "disable_info": {"disable_date": 1790000000}},
    )

    assert "2026-09-21" in fact.reason  # type: ignore[union-attr]  # a template's news


# --- responses ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", [b"", b"<html>Welcome to the hotel</html>", b'{"messages":[{"id":"wam', {}, {"messages": []}]
)
def test_a_200_without_a_message_id_is_no_success(body: Any) -> None:
    assert answered(200, body).verdict == "unknown"


def test_the_response_has_the_ids_of_the_contact() -> None:
    who = {"input": "+5511987654321", "wa_id": "551187654321", "user_id": "BR.1234567890"}

    outcome = answered(200, {"contacts": [who], "messages": [{"id": "wamid.1"}]})

    assert (outcome.contact.external_id, outcome.contact.user_id) == ("551187654321", "BR.1234567890")


@pytest.mark.parametrize(
    ("word", "reason"),
    [("accepted", ""), ("held_for_quality_assessment", "wa_held_for_quality"), ("paused", "wa_held_for_quality")],
)
def test_a_held_message_is_marked_as_held(word: str, reason: str) -> None:
    outcome = answered(200, {"messages": [{"id": "wamid.1", "message_status": word}]})

    assert (outcome.verdict, outcome.external_id, outcome.reason) == ("accepted", "wamid.1", reason)


# --- files of a simulator with another host -----------------------------------------------------------------


def test_a_simulator_serves_files_itself_and_receives_the_key() -> None:
    """360dialog returns Meta's URL; we request its path and query from the simulator's own host."""
    place = FileLocation(url="https://lookaside.fbsbx.com/whatsapp_business/attachments/?mid=1&ext=2&hash=x%2Fy")

    request = PROVIDER.build_file_download_request(place, cloud_account(**SIMULATOR))

    assert request.url == "https://waba-v2.360dialog.io/whatsapp_business/attachments/?mid=1&ext=2&hash=x%2Fy"
    assert "d360-api-key" in request.headers


def test_with_meta_files_are_downloaded_from_their_urls() -> None:
    url = "https://lookaside.fbsbx.com/whatsapp_business/attachments/?mid=1"

    assert PROVIDER.build_file_download_request(FileLocation(url=url), cloud_account()).url == url


# --- the account -----------------------------------------------------------------------------------------


def check_findings(number: dict[str, Any], numbers: list[str] | None = None, **options: str) -> list[Any]:
    answers: dict[str, Any] = {"number": {"display_phone_number": "+1 555-010-0801", **number}}
    if numbers is not None:
        answers["numbers"] = {"data": [{"id": one} for one in numbers]}
    made = {name: ApiResponse(status=200, headers={}, body=json.dumps(body).encode()) for name, body in answers.items()}
    with translation.override("en"):
        return [
            (each.level, str(each.sentence)) for each in PROVIDER.read_check_findings(made, cloud_account(**options))
        ]


def test_a_rate_limit_above_the_numbers_throughput_is_reported() -> None:
    findings = check_findings({"throughput": {"level": "STANDARD"}}, messages_per_second="1000")

    assert any(level == "warning" and "80" in words and "1000" in words for level, words in findings)


def test_a_number_with_high_throughput_may_use_it() -> None:
    findings = check_findings({"throughput": {"level": "HIGH"}})

    assert any(level == "ok" and "1000" in words and "80" in words for level, words in findings)
    assert not any("a second" in words for _level, words in check_findings({"throughput": {"level": "STANDARD"}}))


def test_a_number_of_another_account_is_reported() -> None:
    requests = PROVIDER.build_check_requests(cloud_account())
    assert requests["numbers"].url.startswith(f"https://graph.facebook.com/v25.0/{WABA_ID}/phone_numbers?")

    findings = check_findings({}, ["777"])

    assert any(
        level == "error" and "does not belong to this WhatsApp Business account" in words for level, words in findings
    )
    assert not any("does not belong to this" in words for _level, words in check_findings({}, ["777", PHONE_NUMBER_ID]))


@pytest.mark.django_db
def test_a_restriction_is_shown_in_words() -> None:
    channel = cloud_channel()
    raw = [{"restriction_type": "RESTRICTED_CUSTOMER_INITIATED_MESSAGING", "expiration": 1790000000}]
    [update] = facts_of("account_update", {"event": "ACCOUNT_RESTRICTION", "restriction_info": raw})
    assert isinstance(update, AccountUpdate)
    stored = {
        "event": update.event,
        "details": update.details,
        "level": update.level,
        "at": "2026-09-21T10:00:00+00:00",
    }
    channel.update_provider_status(updates=[stored], throughput="STANDARD", quality="RED")

    with translation.override("en"):
        card = account_status.get_account_status(channel)
        assert card is not None
        sentences = " ".join(str(word) for word in card.updates[0].sentences)
        rows = {str(name): str(value) for name, value in card.rows}
        standard = str(THROUGHPUT["STANDARD"])

    assert "not even replies" in sentences
    assert rows["Throughput"] == standard == "80 messages per second"


def test_settings_with_choices_are_selected_from_a_list() -> None:
    for setting in PROVIDER.settings:
        assert (setting.kind == CHOICE) is bool(setting.choices), setting.name


# --- the channel's page ----------------------------------------------------------------------------------


@pytest.fixture
def page(admin: Client) -> str:
    channel = cloud_channel(settings={"access_token": "short"})
    channel.update_provider_status(status="CONNECTED")
    with translation.override("en"):
        address = reverse("admin:channels_setup_apichannel_change", args=[channel.pk])
        return admin.get(address, headers={"accept-language": "en"}).content.decode()


@pytest.fixture
def admin(client: Client) -> Client:
    client.force_login(vera())
    return client


@pytest.mark.django_db
def test_the_page_separates_values_for_metas_webhook_form_from_secrets(page: str) -> None:
    form, own = page.index("For the provider's webhook form"), page.index("For your own programs")

    assert "/webhooks/whatsapp_cloud/" in page[form:own]
    assert all(name in page[form:own] for name in PROVIDER.webhook_fields)
    assert "The provider does not need them" in page[own:]
    assert "Chat ID for the provider" not in page


@pytest.mark.django_db
def test_the_form_has_no_fields_without_effect(page: str) -> None:
    assert 'name="on_unknown"' not in page
    assert "Messages do not need it." in page
    assert "Saved. Leave empty to keep it." in page
    assert "••••." not in page and "•••• ." not in page


@pytest.mark.django_db
def test_the_numbers_state_is_shown_in_words(page: str) -> None:
    assert "CONNECTED" not in page and "connected" in page
