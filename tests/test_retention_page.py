"""Admin page of retention rules: preview, confirmation, limits, and the picture of the storage."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from bridge.maintenance import retention_rules, storage_usage
from bridge.models import Message, RetentionKind, RetentionRule, StorageSnapshot
from channels_setup.models import ApiChannel
from channels_setup.roles import Role, assign_role
from config.audit.models import AuditRecord
from tests.factories import ConversationFactory, MessageFactory, UserFactory, vera
from tests.pages import page_html, signed_in

pytestmark = pytest.mark.django_db
PAGE = "admin:bridge_retentionrule_changelist"


@pytest.fixture
def admin(client: Client) -> Client:
    return signed_in(client, vera())


@pytest.fixture
def old_message(channel: ApiChannel) -> Message:
    message: Message = MessageFactory(conversation=ConversationFactory(api_channel=channel))
    Message.objects.filter(pk=message.pk).update(created_at=timezone.now() - timedelta(days=100))
    return message


def post(client: Client, **values: Any) -> Any:
    return client.post(reverse(PAGE), {name.replace("__", "-"): value for name, value in values.items()})


def test_every_kind_is_shown_with_its_default_and_reason(admin: Client) -> None:
    html = page_html(admin, reverse(PAGE))

    for kind, spec in retention_rules.KINDS.items():
        assert str(kind.label) in html and f'name="{kind.value}"' in html
        assert f'placeholder="{spec.default}"' in html
    assert html.count("<rect") == len(storage_usage.LABELS)


def test_a_value_that_deletes_nothing_is_saved_at_once(admin: Client, channel: ApiChannel) -> None:
    saved = post(admin, messages=365, audit=2000, **{f"channel__{channel.pk}__files": 90})

    assert saved.status_code == 302
    assert retention_rules.get_days(RetentionKind.MESSAGES) == 365
    channel.refresh_from_db()
    assert (channel.keep_files_days, channel.keep_messages_days) == (90, None)
    record = AuditRecord.objects.get(object_type="bridge.retentionrule", object_label="messages")
    assert (record.action, record.actor) == ("created", "vera")
    assert AuditRecord.objects.filter(object_type="channels_setup.apichannel", changes__has_key="keep_files_days")


def test_a_value_that_deletes_needs_a_second_look(admin: Client, old_message: Message) -> None:
    asked = post(admin, messages=90)
    html = asked.content.decode()

    assert asked.status_code == 200 and not RetentionRule.objects.exists()
    assert re.search(r'<li class="back"><b>1</b><span>Messages\. Older than 90 days\.', html)
    signature = re.search(r'name="confirmed" value="([0-9a-f]{64})"', html)
    assert signature
    assert post(admin, messages=30, confirmed=signature[1]).status_code == 200  # of other values
    assert post(admin, messages=90, confirmed=signature[1]).status_code == 302
    assert retention_rules.get_days(RetentionKind.MESSAGES) == 90
    assert 'data-label="Deleted now: ">1</td>' in page_html(admin, reverse(PAGE))


def test_a_channel_of_its_own_is_counted_by_its_own_value(
    admin: Client, channel: ApiChannel, old_message: Message
) -> None:
    keeps = {f"channel__{channel.pk}__messages": 400}

    assert post(admin, messages=90, **keeps).status_code == 302
    html = post(admin, messages=90).content.decode()  # without its own value, the rule applies

    assert f"{channel.name}: Messages. Older than 90 days." in html


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"audit": 364}, "At least 365 days, or 0 for no limit."),
        ({"deliveries": 7}, "At least 30 days, or 0 for no limit."),
        ({"messages": -1}, "greater than or equal to 0"),
        ({"messages": 99999}, "less than or equal to 36500"),
        ({"messages": "soon"}, "Enter a whole number."),
    ],
)
def test_a_value_out_of_range_is_refused(admin: Client, values: dict[str, Any], sentence: str) -> None:
    refused = post(admin, **values)

    assert refused.status_code == 200 and sentence in refused.content.decode()
    assert not RetentionRule.objects.exists()


def test_an_empty_field_returns_to_the_default(admin: Client) -> None:
    RetentionRule.objects.create(kind=RetentionKind.AUDIT, days=0)

    assert post(admin, audit="").status_code == 302
    assert retention_rules.get_days(RetentionKind.AUDIT) == 1095


def test_a_value_of_the_environment_cannot_be_changed(admin: Client, settings: Any) -> None:
    settings.EVENT_RETENTION_DAYS = 7

    html = page_html(admin, reverse(PAGE))
    post(admin, events=60, attempts=60)

    assert html.count("Set by EVENT_RETENTION_DAYS in the environment") == 4
    assert not RetentionRule.objects.exists() and retention_rules.get_days(RetentionKind.ATTEMPTS) == 7


def test_an_auditor_reads_the_page_and_an_operator_does_not(client: Client) -> None:
    auditor, operator = UserFactory(), UserFactory()
    assign_role(auditor, role=Role.AUDITOR)
    assign_role(operator, role=Role.OPERATOR)

    html = page_html(signed_in(client, auditor), reverse(PAGE))
    assert "<button" not in html[html.index('id="rules"') :].partition("</form>")[0] and "disabled" in html
    assert post(client, messages=90).status_code == 403
    client.force_login(operator)
    assert client.get(reverse(PAGE)).status_code == 302


def test_growth_and_the_end_of_the_disk_come_from_the_snapshots(admin: Client, monkeypatch: Any, settings: Any) -> None:
    settings.MIN_FREE_DISK_MB = 1024
    gigabyte, today = 1024**3, timezone.now().date()
    usage = storage_usage.Usage(bytes_by_group=dict.fromkeys(storage_usage.LABELS, gigabyte), messages=4_000_000)
    assert storage_usage.list_growth(usage) == []
    for age, size in ((20, 2), (7, 6), (0, 8)):
        StorageSnapshot.objects.create(day=today - timedelta(days=age), bytes_by_group={"messages": size * gigabyte})
    monkeypatch.setattr("bridge.files.storage_limits.get_free_bytes", lambda: 13 * gigabyte)

    week, month = storage_usage.list_growth(usage)
    forecast = storage_usage.make_forecast(usage, [week, month])

    assert (week.days, week.bytes) == (7, 2 * gigabyte) and (month.days, month.bytes) == (20, 6 * gigabyte)
    assert forecast and forecast.next_month == 9 * gigabyte
    assert forecast.full_on == today + timedelta(days=40)  # 1 GB stays free
    assert usage.bytes_per_message == gigabyte // 1_000_000
    assert "Growth in the last 20 days" in page_html(admin, reverse(PAGE))
