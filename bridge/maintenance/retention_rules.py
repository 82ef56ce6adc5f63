"""Rules for how long data is kept: kinds, defaults with their reasons, and which value applies.

The value of a kind is, in this order: the setting of the environment if it is set, the rule on the admin's page, the
default. Messages, files and raw requests may have another value for each API channel (``ApiChannel.keep_…_days``).
0 always means no limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.utils.translation import gettext_lazy as _

from bridge.models import RetentionKind, RetentionRule
from channels_setup.models import ApiChannel


@dataclass(frozen=True, kw_only=True)
class RuleKind:
    """One kind of data with its default."""

    default: int  # days; 0: no limit
    what: Any
    reason: Any  # for the default
    minimum: int = 1  # shortest limit in days
    setting: str = ""  # environment variable that fixes the value
    channel_field: str = ""  # field of ``ApiChannel``, for kinds with a value per channel


KINDS: dict[RetentionKind, RuleKind] = {
    RetentionKind.MESSAGES: RuleKind(
        default=0,
        setting="MESSAGE_RETENTION_DAYS",
        channel_field="keep_messages_days",
        what=_("Texts, template values and provider IDs. Time, direction, author and status stay for reports."),
        reason=_(
            "Only you know how long you need the conversations, so nothing is deleted until you set a limit. Laws on "
            "personal data ask for one."
        ),
    ),
    RetentionKind.FILES: RuleKind(
        default=0,
        setting="FILE_RETENTION_DAYS",
        channel_field="keep_files_days",
        what=_("Files of clients and operators on the disk. Their names stay with the message."),
        reason=_(
            "A file belongs to its message and goes with it. Files fill the disk first: a shorter limit saves the most "
            "space."
        ),
    ),
    RetentionKind.EVENTS: RuleKind(
        default=30,
        setting="EVENT_RETENTION_DAYS",
        channel_field="keep_events_days",
        what=_("Requests of providers and helpdesks as received. Unprocessed ones stay."),
        reason=_(
            "They repeat messages and phone numbers, and are needed only to find out what a provider sent. Complaints "
            "arrive within a month."
        ),
    ),
    RetentionKind.DELIVERIES: RuleKind(
        default=180,
        minimum=30,  # reconciliation looks at messages of the last 30 days
        what=_(
            "What was sent to which destination, with content and attempts. Those that were given up or whose outcome "
            "is unknown stay until they are resolved."
        ),
        reason=_("The message keeps its status. Half a year answers late questions about where a message went."),
    ),
    RetentionKind.ATTEMPTS: RuleKind(
        default=30,
        setting="EVENT_RETENTION_DAYS",
        what=_("Time, duration and response of each attempt of a delivery."),
        reason=_("Needed to understand a failure while it can still be repaired. The delivery keeps its result."),
    ),
    RetentionKind.RECORDS: RuleKind(
        default=30,
        setting="EVENT_RETENTION_DAYS",
        what=_(
            "Idempotency keys, reminders, resolved alerts and mismatches, statuses without a message, replies from "
            "helpdesks, expired template links, unused hand-over pages."
        ),
        reason=_("Callers repeat a request within hours, and providers a webhook within days. A month is safe."),
    ),
    RetentionKind.SIGN_INS: RuleKind(
        default=30,
        setting="EVENT_RETENTION_DAYS",
        what=_("Sign-ins and failed attempts with names and IP addresses, for the lock against guessing."),
        reason=_("The lock needs minutes. The audit records have the sign-ins for longer."),
    ),
    RetentionKind.AUDIT: RuleKind(
        default=1095,
        minimum=365,
        what=_("Who changed, viewed or exported what, and the histories of the admin."),
        reason=_(
            "Three years, as Russian rules ask for the proof of an erasure. The database refuses less than a year."
        ),
    ),
}


@dataclass(frozen=True, kw_only=True)
class EffectiveRule:
    """The value of one kind for the whole portal, and where it comes from."""

    kind: RetentionKind
    spec: RuleKind
    days: int
    is_fixed: bool  # by the environment
    is_default: bool


def list_rules() -> dict[RetentionKind, EffectiveRule]:
    """Return the rule of every kind. One query."""
    stored: dict[str, int] = dict(RetentionRule.objects.values_list("kind", "days"))
    rules = {}
    for kind, spec in KINDS.items():
        fixed: int | None = getattr(settings, spec.setting) if spec.setting else None
        own = stored.get(kind)
        days = spec.default if own is None else own
        rules[kind] = EffectiveRule(
            kind=kind,
            spec=spec,
            days=days if fixed is None else fixed,
            is_fixed=fixed is not None,
            is_default=fixed is None and own is None,
        )
    return rules


def get_days(kind: RetentionKind) -> int:
    """Return the days that the portal keeps this kind. 0: no limit."""
    return list_rules()[kind].days


def get_channel_days(kind: RetentionKind) -> dict[int, int]:
    """Return API channel → days, with the portal's value for channels without their own."""
    default = get_days(kind)
    rows = ApiChannel.objects.order_by().values_list("pk", KINDS[kind].channel_field)
    return {pk: default if own is None else own for pk, own in rows}
