"""Catalog of alerts: for each kind its severity, its sentence, what to do, when it is raised, and when it is resolved.

``manage.py alerts_page`` writes the list in docs/alerts.md. A test checks that every kind is here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from django.db.models import Q
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from bridge.models import Alert
from channels_setup.models import AlertSeverity

Kind = Alert.Kind
Severity = AlertSeverity

OPEN_CHANNEL = _("Open the channel and check its account and address.")


@dataclass(frozen=True, kw_only=True)
class AlertDefinition:
    """One kind of alert. ``raised_when`` and ``resolved_when`` are for the docs, in English."""

    severity: AlertSeverity
    sentence: Promise
    action: Promise
    raised_when: str
    resolved_when: str


CATALOG: Mapping[str, AlertDefinition] = {
    Kind.BREAKER: AlertDefinition(
        severity=Severity.CRITICAL,
        sentence=_(
            "“%(channel)s” is not accepting messages. They wait in the queue, and we retry every few minutes. %(why)s"
        ),
        action=OPEN_CHANNEL,
        raised_when="An API channel fails 10 times in a row, or 70 % of at least 10 attempts within 5 minutes fail.",
        resolved_when="An attempt succeeds.",
    ),
    Kind.STUCK: AlertDefinition(
        severity=Severity.WARNING,
        sentence=_("A message on “%(channel)s” has failed four times. %(why)s"),
        action=_("Open the delivery: its attempts show what the provider answers."),
        raised_when="The fourth attempt of one delivery fails.",
        resolved_when="The delivery is sent, given up, canceled or discarded.",
    ),
    Kind.FAILING_LONG: AlertDefinition(
        severity=Severity.CRITICAL,
        sentence=_(
            "“%(channel)s” has been failing for %(days)s days (%(percent)s %% of five). After five days it is paused "
            "automatically; no messages are lost."
        ),
        action=OPEN_CHANNEL,
        raised_when="An API channel has failed for 50, 70 and 90 % of five days.",
        resolved_when="An attempt succeeds, or the channel is paused.",
    ),
    Kind.SWITCHED_OFF: AlertDefinition(
        severity=Severity.CRITICAL,
        sentence=_(
            "“%(channel)s” was paused automatically. %(why)s No messages are lost. Fix the cause, then resume the "
            "channel."
        ),
        action=_("Fix the cause, then resume the channel on its page."),
        raised_when="The provider rejects the channel's key or account, or the channel has failed for five days.",
        resolved_when="The channel is resumed.",
    ),
    Kind.UNCONFIRMED: AlertDefinition(
        severity=Severity.WARNING,
        sentence=_("Messages on “%(channel)s” were accepted but have had no status for %(hours)s hours: %(count)s."),
        action=_("Check that the provider sends statuses to the channel's webhook address."),
        raised_when="Accepted messages have no status for hours, although the channel has statuses of others.",
        resolved_when="No such message is left.",
    ),
    Kind.MISMATCH: AlertDefinition(
        severity=Severity.WARNING,
        sentence=_("Message status mismatches on “%(channel)s”: %(count)s."),
        action=_("Open the mismatches and decide about each."),
        raised_when="The status of a message differs between the portal and the provider.",
        resolved_when="No mismatch of the channel is left.",
    ),
    Kind.WEBHOOK_INACTIVITY: AlertDefinition(
        severity=Severity.WARNING,
        sentence=_(
            "“%(channel)s” has received no webhooks for %(hours)s hours, more than twice the longest recent gap. "
            "Check the webhook address at the provider."
        ),
        action=_("Check the webhook address at the provider."),
        raised_when="No webhook for more than twice the longest gap of the last 14 days.",
        resolved_when="A webhook arrives.",
    ),
    Kind.UNROUTED: AlertDefinition(
        severity=Severity.WARNING,
        sentence=_(
            "“%(channel)s” has received webhooks for another number or account (%(ids)s) that could not be routed: "
            "%(count)s. %(why)s"
        ),
        action=_("Add the channel of that number, then process the events again."),
        raised_when="A webhook is for a number that has no channel.",
        resolved_when="No unrouted event of the channel is left.",
    ),
    Kind.GROUPS: AlertDefinition(
        severity=Severity.INFO,
        sentence=_(
            "“%(channel)s” has received messages from WhatsApp groups: %(count)s so far. Groups are not supported: "
            "these messages open no chat and no window."
        ),
        action=_("Remove the number from the groups, or ignore this."),
        raised_when="A message from a WhatsApp group arrives, once a day at most.",
        resolved_when="A day later.",
    ),
    Kind.TEMPLATE_SYNC: AlertDefinition(
        severity=Severity.WARNING,
        sentence=_("The templates of “%(channel)s” have not been synchronized for %(hours)s hours. %(why)s"),
        action=_("Open the channel, check the connection, and synchronize the templates."),
        raised_when="The hourly synchronization of a channel's templates has failed for a day.",
        resolved_when="A synchronization succeeds, or the channel is paused.",
    ),
    Kind.HELPDESK_DOWN: AlertDefinition(
        severity=Severity.CRITICAL,
        sentence=_(
            "The helpdesk of “%(name)s” is not accepting messages. They wait in the queue, and we retry every few "
            "minutes."
        ),
        action=_("Open the chat channel and check the connection to the helpdesk."),
        raised_when="An external helpdesk fails three times in a row.",
        resolved_when="An attempt succeeds, or the connection is changed.",
    ),
    Kind.COMPONENT_STOPPED: AlertDefinition(
        severity=Severity.CRITICAL,
        sentence=_("The component “%(component)s” has not worked for %(minutes)s min. Its work waits."),
        action=_("Restart the process and read its log."),
        raised_when="A queue's workers or beat have had no heartbeat for a minute (beat: half a minute).",
        resolved_when="A heartbeat follows.",
    ),
    Kind.DISK_LOW: AlertDefinition(
        severity=Severity.CRITICAL,
        sentence=_("The disk of the data folder is almost full: %(free_mb)s MB are free. Files are refused."),
        action=_("Free or add disk space."),
        raised_when="Less space is free than MIN_FREE_DISK_MB.",
        resolved_when="More space is free.",
    ),
    Kind.DELIVERIES_LATE: AlertDefinition(
        severity=Severity.CRITICAL,
        sentence=_("The oldest due delivery has waited for %(minutes)s min, although its destination works."),
        action=_("Check the workers of the queues outbound and events, and the load of the machine."),
        raised_when="A due delivery has waited for 5 minutes, and neither a pause nor a limit explains it.",
        resolved_when="No delivery waits for so long.",
    ),
    Kind.INBOX_LATE: AlertDefinition(
        severity=Severity.CRITICAL,
        sentence=_("The oldest stored webhook has waited for %(minutes)s min to be processed."),
        action=_("Check the workers of the queue inbound, and the load of the machine."),
        raised_when="A stored webhook has not been processed for 5 minutes.",
        resolved_when="No webhook waits for so long.",
    ),
    Kind.EVENTS_FAILED: AlertDefinition(
        severity=Severity.WARNING,
        sentence=_("Webhooks that could not be read: %(count)s. Clients' messages may be among them."),
        action=_("Open the failed events. Process them again after an upgrade, or mark them as resolved."),
        raised_when="A webhook event has failed.",
        resolved_when="No failed event is left.",
    ),
    Kind.DEAD_LETTERS: AlertDefinition(
        severity=Severity.WARNING,
        sentence=_("Deliveries given up within the last hour: %(count)s."),
        action=_("Open the dead letters: resend them when the cause is fixed, or discard them."),
        raised_when="10 deliveries were given up within an hour.",
        resolved_when="Fewer were given up within the last hour.",
    ),
    Kind.BACKUP_OLD: AlertDefinition(
        severity=Severity.WARNING,
        sentence=_("The last backup was made %(hours)s hours ago."),
        action=_("Check the backup service and the space at the place of the backups."),
        raised_when="The last backup is older than BACKUP_MAX_AGE_HOURS. Only if a backup has been made before.",
        resolved_when="A backup is made.",
    ),
    Kind.ROUTE_FAILING: AlertDefinition(
        severity=Severity.WARNING,
        sentence=_("Alerts cannot be sent to “%(name)s”. %(why)s"),
        action=_("Open the alert route, correct it, and send a test message."),
        raised_when="An alert message was refused, or has failed three times. This route itself is not notified.",
        resolved_when="A message is accepted, or the route is disabled.",
    ),
}

# SWITCHED_OFF for reasons whose own sentence says how the channel resumes.
SWITCHED_OFF_RESUMES = _("“%(channel)s” was paused automatically. %(why)s No messages are lost.")


def list_kinds(lowest: str) -> list[str]:
    """Return the kinds of at least this severity."""
    rank = AlertSeverity(lowest).rank
    return [kind for kind, definition in CATALOG.items() if definition.severity.rank >= rank]


IS_CRITICAL = Q(kind__in=list_kinds(Severity.CRITICAL))
