"""Dead letters in the admin: the forecast before the word, one, some or all of them, and who may say it."""

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
AGAIN, DISCARD = f"{LIST}many/resend/", f"{LIST}many/discard/"


@pytest.fixture
def channel() -> ApiChannel:
    return ApiChannelFactory(name="Магазин")


@pytest.fixture
def admin_client() -> Client:
    client = Client(headers={"accept-language": "en"})
    client.force_login(vera())
    return client


def dead(channel: ApiChannel, *, is_open: bool = True, **more: Any) -> Delivery:
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
    """The table alone: filters name reasons too."""
    return page.split('id="result_list"')[1].split("</table>")[0]


def test_the_list_says_why_and_what_sending_again_would_come_to_now(admin_client: Client, channel: ApiChannel) -> None:
    dead(channel)
    dead(channel, is_open=False)
    dead(channel, state="unknown", reason="outcome_unknown", status="unknown")
    dead(channel, state="cancelled", reason="discarded")
    DeliveryFactory(state="delivered")

    shown = html(admin_client, LIST)

    for sentence in ("It would be sent now.", "The window has closed since", "The message may have been sent already"):
        assert shown.count(sentence) == 1
    assert "An admin discarded this message" not in listed(shown)
    assert "An admin discarded this message" in listed(html(admin_client, LIST, which="cancelled"))


def test_the_forecast_knows_the_pause_and_the_breaker(admin_client: Client, channel: ApiChannel) -> None:
    dead(channel)
    CircuitBreaker.objects.create(api_channel=channel, is_open=True)
    assert "is not responding" in html(admin_client, LIST)

    channel.pause()
    assert "The channel is paused. The message would wait" in html(admin_client, LIST)


def test_filters_narrow_by_reason_age_and_channel(admin_client: Client, channel: ApiChannel) -> None:
    old, rejected = dead(channel), dead(channel, reason="rejected")
    elsewhere = dead(ApiChannelFactory())
    Delivery.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(days=8))

    def found(**query: Any) -> set[int]:
        shown = html(admin_client, LIST, **query)
        every = (old, rejected, elsewhere)
        return {each.pk for each in every if f'/delivery/{each.pk}/change/">{each.pk}<' in shown}

    assert found() == {old.pk, rejected.pk, elsewhere.pk}
    assert found(reason="rejected") == {rejected.pk}
    assert found(age="older") == {old.pk}
    assert found(age="day", api_channel__id__exact=channel.pk) == {rejected.pk}


def test_the_list_costs_as_many_queries_for_fifty_as_for_one(admin_client: Client, channel: ApiChannel) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            html(admin_client, LIST)
        return len(captured)

    dead(channel)
    queries()
    for_one = queries()
    for _ in range(12):
        dead(channel)

    assert queries() <= for_one


def test_nothing_is_done_before_the_forecast_was_shown_and_said_yes_to(
    admin_client: Client, channel: ApiChannel
) -> None:
    goes, stays = dead(channel), dead(channel, is_open=False)

    shown = html(admin_client, AGAIN, api_channel__id__exact=channel.pk)
    assert "Send 1 again" in shown and "Will not be resent" in shown
    assert set(Delivery.objects.values_list("state", flat=True)) == {"dead"}

    response = admin_client.post(f"{AGAIN}?api_channel__id__exact={channel.pk}", follow=True)

    assert "queued again" in response.content.decode()
    goes.refresh_from_db(), stays.refresh_from_db()
    assert (goes.state, stays.state) == ("pending", "dead")
    decision = DeliveryDecision.objects.get()
    assert (decision.what, decision.by.username, decision.bulk_action) == ("resend", "vera", BulkAction.objects.get())


def test_what_was_ticked_is_what_is_meant(admin_client: Client, channel: ApiChannel) -> None:
    ticked, other = dead(channel), dead(channel)

    to = admin_client.post(LIST, {"action": "discard", "_selected_action": [ticked.pk]})
    assert to.status_code == 302 and to["Location"] == f"{DISCARD}?ids={ticked.pk}"
    admin_client.post(to["Location"])

    ticked.refresh_from_db(), other.refresh_from_db()
    assert (ticked.state, ticked.reason, other.state) == ("cancelled", "discarded", "dead")


def test_an_empty_choice_means_nothing_and_not_everything(admin_client: Client, channel: ApiChannel) -> None:
    dead(channel)

    admin_client.post(f"{DISCARD}?ids=")

    assert Delivery.objects.get().state == "dead"


def test_all_since_a_time_in_the_zone_of_the_pages(admin_client: Client, channel: ApiChannel) -> None:
    before, after = dead(channel), dead(channel)
    edge = timezone.now() - timedelta(hours=1)
    Delivery.objects.filter(pk=before.pk).update(created_at=edge - timedelta(minutes=2))
    typed = timezone.localtime(edge).strftime("%Y-%m-%dT%H:%M")

    assert "Send 1 again" in html(admin_client, AGAIN, since=typed)
    admin_client.post(f"{AGAIN}?since={typed}")

    before.refresh_from_db(), after.refresh_from_db()
    assert (before.state, after.state) == ("dead", "pending")


def test_what_may_have_been_sent_needs_its_own_yes(admin_client: Client, channel: ApiChannel) -> None:
    dead(channel, state="unknown", reason="outcome_unknown", status="unknown")

    assert "There is nothing to do." in html(admin_client, AGAIN)
    assert "Send 1 again" in html(admin_client, AGAIN, unknown_too="yes")


def test_a_long_one_shows_how_far_it_is_and_goes_on_by_itself(
    admin_client: Client, channel: ApiChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.admin.dead_letters.INLINE_SECONDS", 0.0)
    monkeypatch.setattr(bulk_resend, "BATCH", 1)
    dead(channel), dead(channel)

    response = admin_client.post(AGAIN, follow=True)
    shown = response.content.decode()
    assert 'http-equiv="refresh"' in shown and "of 2. Processing continues" in shown
    assert "0 of 2 done" in html(admin_client, LIST)
    bulk_resend.run_bulk_actions()

    shown = html(admin_client, f"{LIST}bulk-actions/{BulkAction.objects.get().pk}/")
    assert 'http-equiv="refresh"' not in shown and "<b>2</b>" in shown


def test_one_delivery_has_its_forecast_its_lives_and_both_buttons(admin_client: Client, channel: ApiChannel) -> None:
    letter = dead(channel)
    page, do = f"/admin/bridge/delivery/{letter.pk}/change/", f"/admin/bridge/delivery/{letter.pk}/do/"
    assert "It would be sent now." in html(admin_client, page)
    assert admin_client.get(f"{LIST}{letter.pk}/change/")["Location"] == page

    admin_client.post(f"{do}send-again/")
    Delivery.objects.update(state="dead", reason="rejected", attempts=3)
    ServiceWindow.objects.all().delete()
    admin_client.post(f"{do}discard/")

    shown = html(admin_client, page)
    assert "The window has closed since" in shown
    assert shown.index("sent again") < shown.rindex("put aside")
    assert [decision.attempts for decision in DeliveryDecision.objects.order_by("pk")] == [0, 3]


@pytest.mark.parametrize("address", [LIST, AGAIN, DISCARD, f"{LIST}bulk-actions/1/", "/admin/bridge/mismatch/"])
def test_dead_letters_are_for_admins(client: Client, channel: ApiChannel, address: str) -> None:
    dead(channel)
    for user in (boris(channel.default_chat_channel), UserFactory(username="half", is_staff=True)):  # type: ignore[arg-type]  # it has one
        client.force_login(user)
        assert client.get(address).status_code in (302, 403)
        assert client.post(address).status_code in (302, 403)

    assert Delivery.objects.get().state == "dead"


def test_a_made_up_address_is_no_server_error(admin_client: Client) -> None:
    wrong = {"since": "nonsense", "which": "x", "api_channel__id__exact": "9" * 30, "ids": "a,1", "age": "x"}

    assert admin_client.get(AGAIN, wrong).status_code == 200
    assert admin_client.get(f"{LIST}many/explode/").status_code == 404
    assert admin_client.get(f"{LIST}bulk-actions/999999999/").status_code == 404
    assert admin_client.get(AGAIN, {"since": "2026-02-31T10:00"}).status_code == 200


def test_mismatches_are_listed_with_what_helps_and_lead_from_the_start_page(
    admin_client: Client, channel: ApiChannel
) -> None:
    message = MessageFactory(conversation=ConversationFactory(api_channel=channel), outbound=True, status="sent")
    DeliveryFactory(message=message, state="dead")
    reconciliation.reconcile_messages()
    mismatch = Mismatch.objects.get()

    start = html(admin_client, "/")
    assert "stand differently on the two sides" in start
    assert f"/admin/bridge/mismatch/?api_channel__id__exact={channel.pk}" in start
    assert "marked as sent" in html(admin_client, "/admin/bridge/mismatch/", api_channel__id__exact=channel.pk)
    assert "resend it" in html(admin_client, f"/admin/bridge/mismatch/{mismatch.pk}/change/")


def test_the_channel_page_and_the_alert_have_the_button_that_helps(admin_client: Client, channel: ApiChannel) -> None:
    letter = dead(channel)
    channel.record_failure("unauthorized")
    channel.pause()
    alerts.raise_alert("switched_off", api_channel_id=channel.pk, why_code="unauthorized")
    alerts.raise_alert("stuck", api_channel_id=channel.pk, delivery_id=letter.pk, why_code="destination_error")

    page = html(admin_client, f"/admin/channels_setup/apichannel/{channel.pk}/change/")
    assert "Compare the secret key" in page
    assert page.count(f'action="/admin/channels_setup/apichannel/{channel.pk}/do/resume/"') == 2
    for alert, label in zip(Alert.objects.order_by("pk"), ("Resume the channel", "Open the channel"), strict=True):
        shown = html(admin_client, f"/admin/bridge/alert/{alert.pk}/change/")
        assert f'href="/admin/channels_setup/apichannel/{channel.pk}/change/">{label}<' in shown
