"""How much space the data takes, how fast it grows, and how long the disk lasts. Reads sizes, never whole tables.

Once a day the sizes are stored (``StorageSnapshot``). Growth is the difference between two days, so it contains
everything: indexes, dead rows, and what retention deletes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import Sum
from django.utils.translation import gettext_lazy as _

from bridge import service_window
from bridge.files import storage_limits
from bridge.models import Attachment, StorageSnapshot, Upload

FILES, OTHER = "files", "other"
# Group → its tables. A message has rows in the first four; the rest grows with clients and people.
GROUPS: dict[str, tuple[str, ...]] = {
    "messages": (
        *("bridge_message", "bridge_attachment", "bridge_heldreply", "bridge_draft", "bridge_upload"),
        *("bridge_conversationnote", "bridge_notemention", "bridge_conversationactivity"),
        *("bridge_pendingcorrection", "bridge_straystatus"),
    ),
    "deliveries": ("bridge_delivery", "bridge_deliverydecision"),
    "attempts": ("bridge_attempt",),
    "events": ("bridge_webhookevent",),
    "clients": (
        *("bridge_contact", "bridge_conversation", "bridge_ticket", "bridge_servicewindow", "bridge_contactnote"),
        *("bridge_helpdeskchat", "bridge_helpdeskreply", "bridge_formerid", "bridge_closingreminder"),
        "bridge_notification",
    ),
    "audit": ("audit_record", "django_admin_log"),
}
PER_MESSAGE = ("messages", "deliveries", "attempts", "events")
LABELS: dict[str, Any] = {
    "messages": _("Messages"),
    "deliveries": _("Deliveries"),
    "attempts": _("Attempts"),
    "events": _("Raw requests"),
    "clients": _("Clients, chats, requests and windows"),
    "audit": _("Audit records"),
    OTHER: _("Other tables"),
    FILES: _("Files"),
}
PERIODS = (7, 30)  # days
MONTH = 30
MAX_FORECAST_DAYS = 3650
SHORT_DAYS = 60
MIN_MESSAGES = 1_000
SMALL_TABLE = 10_000  # rows that are counted where the planner has no estimate

READ_SIZES = """
SELECT relname, pg_total_relation_size(oid), reltuples::bigint FROM pg_class
WHERE relname = ANY(%s) AND relkind = 'r' AND pg_table_is_visible(oid)
"""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Size of the data now."""

    bytes_by_group: dict[str, int]
    messages: int  # estimate

    @property
    def total(self) -> int:
        return sum(self.bytes_by_group.values())

    @property
    def bytes_per_message(self) -> int | None:
        """Return the bytes in the database for one message, with its deliveries, attempts and raw request.

        None for a portal with few messages, where empty tables and indexes take most of the space.
        """
        size = sum(self.bytes_by_group[name] for name in PER_MESSAGE)
        return size // self.messages if self.messages >= MIN_MESSAGES else None


@dataclass(frozen=True, kw_only=True)
class Growth:
    """Growth over the last days. ``days``: as far back as the snapshots go."""

    days: int
    bytes: int
    messages: int

    @property
    def size(self) -> int:
        return abs(self.bytes)

    @property
    def per_day(self) -> float:
        return self.bytes / self.days


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What the disk will look like if the data grows as in the longest measured period."""

    growth: Growth
    free: int  # bytes on the disk of the files
    today: date

    @property
    def next_month(self) -> int:
        return round(self.growth.per_day * MONTH)

    @property
    def next_month_size(self) -> int:
        return abs(self.next_month)

    @property
    def full_on(self) -> date | None:
        """Return the day on which only ``MIN_FREE_DISK_MB`` are left. None: not within ten years."""
        left = max(self.free - settings.MIN_FREE_DISK_MB * storage_limits.MEGABYTE, 0)
        days = left / self.growth.per_day if self.growth.per_day > 0 else MAX_FORECAST_DAYS
        return self.today + timedelta(days=int(days)) if days < MAX_FORECAST_DAYS else None

    @property
    def is_short(self) -> bool:
        return self.full_on is not None and (self.full_on - self.today).days <= SHORT_DAYS


def measure(*, file_bytes: int | None = None) -> Usage:
    """Return the sizes of the groups. Files are summed only if their size is not given: that reads their table."""
    tables = [table for group in GROUPS.values() for table in group]
    with connection.cursor() as cursor:
        cursor.execute(READ_SIZES, [tables])
        sizes = {name: (size, rows) for name, size, rows in cursor.fetchall()}
        cursor.execute("SELECT pg_database_size(current_database())")
        database = int(cursor.fetchone()[0])
    by_group = {name: sum(sizes.get(table, (0, 0))[0] for table in group) for name, group in GROUPS.items()}
    by_group[OTHER] = max(database - sum(by_group.values()), 0)
    by_group[FILES] = _sum_files() if file_bytes is None else file_bytes
    estimate = sizes.get("bridge_message", (0, 0))[1]
    return Usage(bytes_by_group=by_group, messages=estimate if estimate > SMALL_TABLE else _count_messages())


def take_snapshot() -> int:
    """Store the sizes of today, unless they are stored. Return 0: nothing is deleted."""
    today = service_window.database_now().date()
    if not StorageSnapshot.objects.filter(day=today).exists():
        usage = measure()
        StorageSnapshot.objects.get_or_create(
            day=today, defaults={"bytes_by_group": usage.bytes_by_group, "messages": usage.messages}
        )
    return 0


def measure_now() -> Usage:
    """Return the current sizes, with the size of the files from the last snapshot."""
    last = StorageSnapshot.objects.order_by("-day").first()
    return measure(file_bytes=int(last.bytes_by_group.get(FILES, 0)) if last else None)


def list_growth(usage: Usage, *, today: date | None = None) -> list[Growth]:
    """Return the growth over each of ``PERIODS``, or over the time since the first snapshot. Empty on the first day."""
    today = today or service_window.database_now().date()
    found: list[Growth] = []
    for period in PERIODS:
        rows = StorageSnapshot.objects.filter(day__gte=today - timedelta(days=period), day__lt=today)
        first = rows.order_by("day").first()
        if first is not None and (days := (today - first.day).days) not in [growth.days for growth in found]:
            before = sum(first.bytes_by_group.values())
            grown = Growth(days=days, bytes=usage.total - before, messages=usage.messages - first.messages)
            found.append(grown)
    return found


def make_forecast(usage: Usage, growth: list[Growth]) -> Forecast | None:
    if not growth:
        return None
    today = service_window.database_now().date()
    return Forecast(growth=growth[-1], free=storage_limits.get_free_bytes(), today=today)


def _sum_files() -> int:
    stored = (model.objects.exclude(file="").aggregate(sum=Sum("size"))["sum"] for model in (Attachment, Upload))
    return sum(size or 0 for size in stored)


def _count_messages() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM (SELECT FROM bridge_message LIMIT %s) counted", [SMALL_TABLE])
        return int(cursor.fetchone()[0])
