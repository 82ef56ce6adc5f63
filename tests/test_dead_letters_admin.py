"""Dead letters in the admin: a preview before one, some or all of them are resent or discarded, and permissions."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from bridge.channel_health import alerts
from bridge.maintenance import reconciliation
from bridge.models import Alert, BulkAction, CircuitBreaker, Delivery, DeliveryDecision, Mismatch, ServiceWindow
from bridge.outbox import bulk_resend
from channels_setup.models import ApiChannel
from tests.factories import (
    ApiChannelFactory,
    ConversationFactory,
    DeliveryFactory,
    MessageFactory,
    ServiceWindowFactory,
    UserFactory,
    boris,
    vera,
)

pytestmark = pytest.mark.django_db

LIST = "/admin/bridge/deadletter/"
AGAIN, DISCARD = f"{LIST}bulk/resend/", f"{LIST}bulk/discard/"


@pytest.fixture
def channel() -> ApiChannel:
    return ApiChannelFactory(name="Магазин")


@pytest.fixture
def admin_client() -> Client:
    client = Client(headers={"accept-language": "en"})
    client.force_login(vera())
    return client


def dead_delivery(channel: ApiChannel, *, is_open: bool = True, **more: Any) -> Delivery:
    conversation = ConversationFactory(api_channel=channel)
    if is_open:
        ServiceWindowFactory(conversation=conversation)
    message = MessageFactory(conversation=conversation, outbound=True, status=more.pop("status", "failed"))
    return DeliveryFactory(message=message, **{"state": "dead", "reason": "retries_exhausted"} | more)


def html(client: Client, address: str, **query: Any) -> str:
    response = client.get(address, query)
    assert response.status_code == 200
    return str(response.content.decode())


def listed(page: str) -> str:
    """Return only the table: filters name reasons too."""
    return page.split('id="result_list"')[1].split("</table>")[0]


def test_the_list_shows_the_reason_and_the_expected_result_of_a_resend(
    admin_client: Client, channel: ApiChannel
) -> None:
    dead_delivery(channel)
    dead_delivery(channel, is_open=False)
    dead_delivery(channel, state="unknown", reason="outcome_unknown", status="unknown")
    dead_delivery(channel, state="cancelled", reason="discarded")
    DeliveryFactory(state="delivered")

    page = html(admin_client, LIST)

    for sentence in ("It would be sent now.", "The window has closed since", "The message may have been sent already"):
        assert page.count(sentence) == 1
    assert "An admin discarded this message" not in listed(page)
    assert "An admin discarded this message" in listed(html(admin_client, LIST, state="cancelled"))


def test_the_preview_respects_the_pause_and_the_circuit_breaker(admin_client: Client, channel: ApiChannel) -> None:
    dead_delivery(channel)
    CircuitBreaker.objects.create(api_channel=channel, is_open=True)
    assert "is not responding" in html(admin_client, LIST)

    channel.pause()
    assert "The channel is paused. The message would wait" in html(admin_client, LIST)


def test_filters_narrow_by_reason_age_and_channel(admin_client: Client, channel: ApiChannel) -> None:
    old, rejected = dead_delivery(channel), dead_delivery(channel, reason="rejected")
    elsewhere = dead_delivery(ApiChannelFactory())
    Delivery.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(days=8))

    def found(**query: Any) -> set[int]:
        page = html(admin_client, LIST, **query)
        every = (old, rejected, elsewhere)
        return {each.pk for each in every if f'/delivery/{each.pk}/change/">{each.pk}<' in page}

    assert found() == {old.pk, rejected.pk, elsewhere.pk}
    assert found(reason="rejected") == {rejected.pk}
    assert found(age="older") == {old.pk}
    assert found(age="day", api_channel__id__exact=channel.pk) == {rejected.pk}


def test_the_list_runs_as_many_queries_for_fifty_as_for_one(admin_client: Client, channel: ApiChannel) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            html(admin_client, LIST)
        return len(captured)

    dead_delivery(channel)
    queries()
    for_one = queries()
    for _ in range(12):
        dead_delivery(channel)

    assert queries() <= for_one


def test_nothing_is_resent_before_the_preview_is_confirmed(admin_client: Client, channel: ApiChannel) -> None:
    goes, stays = dead_delivery(channel), dead_delivery(channel, is_open=False)

    preview = html(admin_client, AGAIN, api_channel__id__exact=channel.pk)
    assert "Resend 1" in preview and "Will not be resent" in preview
    assert set(Delivery.objects.values_list("state", flat=True)) == {"dead"}

    response = admin_client.post(f"{AGAIN}?api_channel__id__exact={channel.pk}", follow=True)

    assert "queued again" in response.content.decode()
    goes.refresh_from_db(), stays.refresh_from_db()
    assert (goes.state, stays.state) == ("pending", "dead")
    decision = DeliveryDecision.objects.get()
    assert (decision.action, decision.by.username, decision.bulk_action) == ("resend", "vera", BulkAction.objects.get())


def test_an_action_applies_to_the_selected_deliveries_only(admin_client: Client, channel: ApiChannel) -> None:
    ticked, other = dead_delivery(channel), dead_delivery(channel)

    to = admin_client.post(LIST, {"action": "discard", "_selected_action": [ticked.pk]})
    assert to.status_code == 302 and to["Location"] == f"{DISCARD}?ids={ticked.pk}"
    admin_client.post(to["Location"])

    ticked.refresh_from_db(), other.refresh_from_db()
    assert (ticked.state, ticked.reason, other.state) == ("cancelled", "discarded", "dead")


def test_an_empty_selection_selects_nothing(admin_client: Client, channel: ApiChannel) -> None:
    dead_delivery(channel)

    admin_client.post(f"{DISCARD}?ids=")

    assert Delivery.objects.get().state == "dead"


def test_all_since_a_time_uses_the_time_zone_of_the_pages(admin_client: Client, channel: ApiChannel) -> None:
    before, after = dead_delivery(channel), dead_delivery(channel)
    edge = timezone.now() - timedelta(hours=1)
    Delivery.objects.filter(pk=before.pk).update(created_at=edge - timedelta(minutes=2))
    typed = timezone.localtime(edge).strftime("%Y-%m-%dT%H:%M")

    assert "Resend 1" in html(admin_client, AGAIN, since=typed)
    admin_client.post(f"{AGAIN}?since={typed}")

    before.refresh_from_db(), after.refresh_from_db()
    assert (before.state, after.state) == ("dead", "pending")


def test_deliveries_with_unknown_outcome_need_their_own_confirmation(admin_client: Client, channel: ApiChannel) -> None:
    dead_delivery(channel, state="unknown", reason="outcome_unknown", status="unknown")

    assert "There is nothing to do." in html(admin_client, AGAIN)
    assert "Resend 1" in html(admin_client, AGAIN, include_unknown="yes")


def test_a_long_bulk_resend_shows_its_progress_and_continues_by_itself(
    admin_client: Client, channel: ApiChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.admin.dead_letters.INLINE_SECONDS", 0.0)
    monkeypatch.setattr(bulk_resend, "BATCH", 1)
    dead_delivery(channel), dead_delivery(channel)

    response = admin_client.post(AGAIN, follow=True)
    page = response.content.decode()
    assert 'http-equiv="refresh"' in page and "of 2. Processing continues" in page
    assert "0 of 2 done" in html(admin_client, LIST)
    bulk_resend.run_bulk_actions()

    page = html(admin_client, f"{LIST}bulk-actions/{BulkAction.objects.get().pk}/")
    assert 'http-equiv="refresh"' not in page and "<b>2</b>" in page


def test_a_delivery_page_has_its_preview_lineage_and_both_buttons(admin_client: Client, channel: ApiChannel) -> None:
    letter = dead_delivery(channel)
    page, do = f"/admin/bridge/delivery/{letter.pk}/change/", f"/admin/bridge/delivery/{letter.pk}/actions/"
    assert "It would be sent now." in html(admin_client, page)
    assert admin_client.get(f"{LIST}{letter.pk}/change/")["Location"] == page

    admin_client.post(f"{do}resend/")
    Delivery.objects.update(state="dead", reason="rejected", attempts=3)
    ServiceWindow.objects.all().delete()
    admin_client.post(f"{do}discard/")

    content = html(admin_client, page)
    assert "The window has closed since" in content
    assert content.index("resent") < content.rindex("discarded")
    assert [decision.attempts for decision in DeliveryDecision.objects.order_by("pk")] == [0, 3]


@pytest.mark.parametrize("address", [LIST, AGAIN, DISCARD, f"{LIST}bulk-actions/1/", "/admin/bridge/mismatch/"])
def test_dead_letters_are_visible_only_to_admins(client: Client, channel: ApiChannel, address: str) -> None:
    dead_delivery(channel)
    for user in (boris(channel.default_chat_channel), UserFactory(username="half", is_staff=True)):  # type: ignore[arg-type]  # it has one
        client.force_login(user)
        assert client.get(address).status_code in (302, 403)
        assert client.post(address).status_code in (302, 403)

    assert Delivery.objects.get().state == "dead"


def test_an_unknown_url_is_no_server_error(admin_client: Client) -> None:
    wrong = {"since": "nonsense", "state": "x", "api_channel__id__exact": "9" * 30, "ids": "a,1", "age": "x"}

    assert admin_client.get(AGAIN, wrong).status_code == 200
    assert admin_client.get(f"{LIST}bulk/explode/").status_code == 404
    assert admin_client.get(f"{LIST}bulk-actions/999999999/").status_code == 404
    assert admin_client.get(AGAIN, {"since": "2026-02-31T10:00"}).status_code == 200


def test_mismatches_are_listed_with_the_suggested_action(admin_client: Client, channel: ApiChannel) -> None:
    message = MessageFactory(conversation=ConversationFactory(api_channel=channel), outbound=True, status="sent")
    DeliveryFactory(message=message, state="dead")
    reconciliation.reconcile_messages()
    mismatch = Mismatch.objects.get()

    start = html(admin_client, "/")
    assert "Message status mismatches on" in start
    assert f"/admin/bridge/mismatch/?api_channel__id__exact={channel.pk}" in start
    assert "marked as sent" in html(admin_client, "/admin/bridge/mismatch/", api_channel__id__exact=channel.pk)
    assert "resend it" in html(admin_client, f"/admin/bridge/mismatch/{mismatch.pk}/change/")


def test_the_channel_page_and_the_alert_have_the_suggested_button(admin_client: Client, channel: ApiChannel) -> None:
    letter = dead_delivery(channel)
    channel.record_failure("unauthorized")
    channel.pause()
    alerts.raise_alert("switched_off", api_channel_id=channel.pk, why_code="unauthorized")
    alerts.raise_alert("stuck", api_channel_id=channel.pk, delivery_id=letter.pk, why_code="destination_error")

    page = html(admin_client, f"/admin/channels_setup/apichannel/{channel.pk}/change/")
    assert "Compare the secret key" in page
    assert page.count(f'action="/admin/channels_setup/apichannel/{channel.pk}/actions/resume/"') == 2
    for alert, label in zip(Alert.objects.order_by("pk"), ("Resume the channel", "Open the channel"), strict=True):
        content = html(admin_client, f"/admin/bridge/alert/{alert.pk}/change/")
        assert f'href="/admin/channels_setup/apichannel/{channel.pk}/change/">{label}<' in content
