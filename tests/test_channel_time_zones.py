"""Time zone of a chat channel: working hours, reminders and reports follow it; pages keep the reader's."""

import csv
import io
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from bridge.conversations import closing_reminders
from bridge.fanout import operator_notes
from bridge.models import ClosingReminder, ServiceWindow
from channels_setup import time_zones
from channels_setup.models import ApiChannel, ChatChannel
from config.accounts.emails import use_preferences
from tests.factories import ApiChannelFactory, ChatChannelFactory, vera
from tests.pages import page_html, signed_in
from tests.scenarios.sending import receive_text

pytestmark = pytest.mark.django_db
NOON_IN_MOSCOW = datetime(2026, 3, 27, 9, 0, tzinfo=UTC)  # a Friday


def chat_channel_in(zone: str, **fields: Any) -> ChatChannel:
    channel: ChatChannel = ChatChannelFactory(time_zone=zone, **fields)
    return channel


def test_working_hours_are_those_of_the_channels_city() -> None:
    office = {"work_from": time(9), "work_until": time(18), "work_weekends": False}
    kaliningrad, vladivostok, portal = (
        chat_channel_in(zone, **office).working_hours for zone in ("Europe/Kaliningrad", "Asia/Vladivostok", "")
    )

    assert kaliningrad and vladivostok and portal
    assert kaliningrad.is_at_work(NOON_IN_MOSCOW) and portal.is_at_work(NOON_IN_MOSCOW)
    assert not vladivostok.is_at_work(NOON_IN_MOSCOW)  # 19:00
    assert vladivostok.next_start(NOON_IN_MOSCOW) == datetime(2026, 3, 30, 9, tzinfo=ZoneInfo("Asia/Vladivostok"))
    assert portal.zone == timezone.get_default_timezone()


def test_working_hours_follow_the_clock_change() -> None:
    hours = chat_channel_in("Europe/Berlin", work_from=time(9), work_until=time(18)).working_hours

    assert hours
    assert hours.next_start(datetime(2026, 3, 28, 20, tzinfo=UTC)) == datetime(2026, 3, 29, 7, tzinfo=UTC)
    assert hours.next_start(datetime(2026, 3, 27, 20, tzinfo=UTC)) == datetime(2026, 3, 28, 8, tzinfo=UTC)


def test_reminders_are_sent_only_in_the_channels_working_hours() -> None:
    channels = {}
    for zone in ("Europe/Kaliningrad", "Asia/Vladivostok"):
        watched = chat_channel_in(zone, work_from=time(9), work_until=time(18))
        window = _expiring_window(ApiChannelFactory(watched=watched), NOON_IN_MOSCOW + timedelta(minutes=10))
        channels[zone] = window.conversation.chat_channel_id

    closing_reminders.send_reminders(now=NOON_IN_MOSCOW)

    assert ClosingReminder.objects.get().chat_channel_id == channels["Europe/Kaliningrad"]


def test_a_note_names_the_closing_time_of_the_channels_city() -> None:
    watched = chat_channel_in("Asia/Vladivostok", kind="usedesk")
    window = _expiring_window(ApiChannelFactory(watched=watched), NOON_IN_MOSCOW)

    operator_notes.note_closing_windows([window.pk])

    payload = window.conversation.deliveries.get(kind="note").payload
    assert "19:00" in str(payload) and "12:00" not in str(payload)


@pytest.fixture
def two_cities() -> None:
    """One missed window in each of two cities, closed at the same moment."""
    closed = (timezone.now() - timedelta(days=2)).replace(hour=9, minute=0)
    for zone in ("Europe/Kaliningrad", "Asia/Vladivostok"):
        window = _expiring_window(ApiChannelFactory(watched=chat_channel_in(zone, name=zone)), closed)
        ServiceWindow.objects.filter(pk=window.pk).update(state="closed", missed=True)


def test_the_report_counts_hours_of_each_channel(two_cities: None, client: Client) -> None:
    signed_in(client, vera())

    html = page_html(client, "/windows/")

    assert "11:00–11:59: 1" in html and "19:00–19:59: 1" in html and "12:00–12:59: 1" not in html
    assert "Hours are in the time zone of the channel (Asia/Vladivostok, Europe/Kaliningrad)." in html
    text = b"".join(client.get("/windows/missed.csv")).decode("utf-8-sig")  # type: ignore[attr-defined]
    rows = {line[-1]: (line[5][-5:], line[6]) for line in csv.reader(io.StringIO(text))}
    assert rows["Asia/Vladivostok"] == ("19:00", "19") and rows["Europe/Kaliningrad"] == ("11:00", "11")


def test_the_report_needs_no_zone_of_the_database(two_cities: None, client: Client, monkeypatch: Any) -> None:
    """Python's list of zones is often newer than PostgreSQL's."""
    monkeypatch.setattr(ChatChannel, "zone", OnlyInPython("Asia/Kathmandu"))  # +05:45
    signed_in(client, vera())

    assert "14:00–14:59: 2" in page_html(client, "/windows/")


class OnlyInPython(tzinfo):
    """A time zone with a name that the database does not know."""

    def __init__(self, name: str) -> None:
        self.zone = ZoneInfo(name)

    def __str__(self) -> str:
        return "Mars/Olympus"

    def utcoffset(self, moment: datetime | None) -> timedelta | None:
        return self.zone.utcoffset(moment)

    def dst(self, moment: datetime | None) -> timedelta | None:
        return self.zone.dst(moment)

    def tzname(self, moment: datetime | None) -> str:
        return str(self)


def test_the_admin_offers_zones_with_their_offset(client: Client) -> None:
    chat_channel = chat_channel_in("")
    signed_in(client, vera())
    address = reverse("admin:channels_setup_chatchannel_change", args=[chat_channel.pk])
    form = {"name": "Shop", "company_id": 1, "work_weekends": "on"}
    form |= {"automation-TOTAL_FORMS": 0, "automation-INITIAL_FORMS": 0}

    html = page_html(client, address)
    refused = client.post(address, form | {"time_zone": "Mars/Olympus"})
    saved = client.post(address, form | {"time_zone": "Asia/Vladivostok"})

    assert "Time zone of the portal: Europe/Moscow (UTC+03:00)" in html and "Asia/Kolkata (UTC+05:30)" in html
    assert refused.status_code == 200 and "Mars/Olympus" in refused.content.decode()
    chat_channel.refresh_from_db()
    assert saved.status_code == 302 and chat_channel.time_zone == "Asia/Vladivostok"


def test_an_email_to_a_user_whose_zone_is_gone_has_the_portals() -> None:
    user = vera()
    user.time_zone = "Mars/Olympus"

    with use_preferences(user, None):
        assert timezone.get_current_timezone() == timezone.get_default_timezone()


def test_an_unknown_zone_is_refused_and_a_lost_one_is_the_portals() -> None:
    with pytest.raises(ValidationError):
        ChatChannel(name="Shop", time_zone="Mars/Olympus").full_clean()

    assert ChatChannel(name="Shop", time_zone="Mars/Olympus").zone == timezone.get_default_timezone()
    winter = datetime(2026, 1, 15, tzinfo=UTC)
    assert time_zones.label_time_zone("America/St_Johns", now=winter) == "America/St_Johns (UTC-03:30)"


def _expiring_window(channel: ApiChannel, expires_at: datetime) -> ServiceWindow:
    """Create a chat whose client waits for an answer until the window closes."""
    conversation = receive_text(channel, "Hello?", who="anna", name="Anna").conversation
    ServiceWindow.objects.filter(conversation=conversation).update(
        opened_at=expires_at - timedelta(hours=24), expires_at=expires_at
    )
    return ServiceWindow.objects.get(conversation=conversation)
