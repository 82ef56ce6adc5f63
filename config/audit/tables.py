"""Audited tables: everything that people configure, and what they change about clients.

Add a line for a new table, or an entry in ``EXEMPT`` with the reason; ``tests/test_audit_coverage.py`` wants one of
both. ``manage.py migrate`` installs the triggers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from django.apps import apps

ALL_EVENTS = ("INSERT", "UPDATE", "DELETE")


@dataclass(frozen=True, kw_only=True)
class AuditedTable:
    """What is recorded of one table. Columns in ``hidden`` are recorded as changed, without their values."""

    label: str = ""  # column that names the row; never one with client data
    columns: tuple[str, ...] = ()  # record only changes of these; empty: of all
    hidden: tuple[str, ...] = ()  # secrets and personal data of clients
    hides_all: bool = False
    urls: tuple[str, ...] = ()  # recorded as scheme and host: their paths may contain a secret
    ignored: tuple[str, ...] = ()  # counters, states and times that the portal itself writes
    people_only: bool = False  # the message flow writes this table too, which is not recorded
    events: tuple[str, ...] = ALL_EVENTS
    when: str = ""  # condition of the UPDATE trigger; keeps it off the message flow


def client_data(**options: Any) -> AuditedTable:
    """Record that a person changed data of a client, never the data."""
    return AuditedTable(hides_all=True, people_only=True, **options)


# Model, or model and many-to-many field, → rule.
AUDITED: dict[str, AuditedTable] = {
    # People and their access
    "accounts.User": AuditedTable(label="username", hidden=("password",), ignored=("last_login", "session_epoch")),
    "accounts.User.groups": AuditedTable(),
    "accounts.User.user_permissions": AuditedTable(),
    "accounts.User.service_chat_channels": AuditedTable(),
    "accounts.ApiToken": AuditedTable(label="name", hidden=("digest",), ignored=("last_used_at", "last_used_address")),
    "accounts.ApiToken.chat_channels": AuditedTable(),
    "auth.Group": AuditedTable(label="name"),
    "auth.Group.permissions": AuditedTable(),
    "account.EmailAddress": AuditedTable(label="email"),
    "mfa.Authenticator": AuditedTable(label="type", hidden=("data",), ignored=("last_used_at",)),
    "socialaccount.SocialApp": AuditedTable(label="name", hidden=("secret", "key", "settings")),
    "socialaccount.SocialAccount": AuditedTable(label="provider", hidden=("extra_data",), ignored=("last_login",)),
    "socialaccount.SocialToken": AuditedTable(hidden=("token", "token_secret"), ignored=("expires_at",)),
    # Channels and their keys
    "channels_setup.ChatChannel": AuditedTable(label="name", hidden=("secret",)),
    "channels_setup.ChatChannel.operators": AuditedTable(),
    "channels_setup.Team": AuditedTable(label="name"),
    "channels_setup.Team.chat_channels": AuditedTable(),
    "channels_setup.Team.members": AuditedTable(),
    "channels_setup.ApiChannel": AuditedTable(
        label="name",
        urls=("redirect_url",),
        ignored=("provider_status", "last_error", "last_error_at", "first_inbound_at", "first_outbound_at"),
    ),
    "channels_setup.ApiChannel.watched": AuditedTable(),
    "channels_setup.Secret": AuditedTable(label="tail", hidden=("token", "digest"), ignored=("shown_at",)),
    "channels_setup.Credential": AuditedTable(label="name", hidden=("token",)),
    "channels_setup.WebhookAddress": AuditedTable(label="tail", hidden=("token", "digest"), ignored=("last_used_at",)),
    "channels_setup.AlertRoute": AuditedTable(
        label="name",
        hidden=("secret", "environment_digest"),
        urls=("target",),
        ignored=("failing_since", "last_error", "last_answer", "last_sent_at", "retry_at"),
    ),
    "channels_setup.AlertRoute.api_channels": AuditedTable(),
    "channels_setup.Handover": AuditedTable(hidden=("digest",), ignored=("first_event_at",)),
    # Templates
    "templates_registry.Template": AuditedTable(
        label="name",
        ignored=("last_used_at", "times_used", "updated_at", "reject_reason", "provider_status", "quality"),
        when="OLD.times_used IS NOT DISTINCT FROM NEW.times_used",  # each message sent with the template counts
    ),
    "templates_registry.TemplateTags": AuditedTable(),
    # The desk
    "bridge.CannedResponse": AuditedTable(label="name", hidden=("text",), ignored=("updated_at",)),  # may quote clients
    "bridge.CannedResponse.chat_channels": AuditedTable(),
    "bridge.Macro": AuditedTable(label="name", hidden=("reply_text", "note_text"), ignored=("updated_at",)),
    "bridge.Macro.chat_channels": AuditedTable(),
    # Names and searches of views may be words of clients.
    "bridge.SavedView": AuditedTable(hidden=("name", "filters"), ignored=("position", "updated_at")),
    "bridge.ChannelAutomation": AuditedTable(),
    "bridge.TicketField": AuditedTable(label="name"),
    "bridge.ContactField": AuditedTable(label="name"),
    "bridge.RetentionRule": AuditedTable(label="kind"),
    # Decisions about deliveries and events
    "bridge.DeliveryDecision": AuditedTable(
        people_only=True,
        columns=("delivery_id", "action", "by_id", "previous_state", "bulk_action_id"),
        events=("INSERT", "DELETE"),
    ),
    "bridge.BulkAction": AuditedTable(
        people_only=True,
        columns=("action", "selection", "by_id", "total"),
        hidden=("selection",),
        events=("INSERT", "DELETE"),
    ),
    "bridge.Alert": AuditedTable(
        people_only=True, columns=("settled_at", "opened_at", "acknowledged_at"), events=("UPDATE", "DELETE")
    ),
    "bridge.Mismatch": AuditedTable(people_only=True, columns=("settled_at",), events=("UPDATE", "DELETE")),
    "bridge.WebhookEvent": AuditedTable(
        people_only=True, columns=("state",), events=("UPDATE",), when="OLD.state = 'failed'"
    ),
    # Clients and their chats: who, which and when, never names, phones or words
    "bridge.Conversation": AuditedTable(
        people_only=True, columns=("assignee_id", "team_id"), events=("UPDATE", "DELETE")
    ),
    "bridge.Ticket": AuditedTable(
        people_only=True,
        columns=("status", "assignee_id", "team_id", "priority", "type", "assigned_to_group", "subject", "tags"),
        hidden=("subject", "tags"),
        events=("UPDATE", "DELETE"),
    ),
    "bridge.Contact": client_data(
        columns=("phone", "name", "email", "tags", "card", "erased_at", "merged_into_id"), events=("UPDATE", "DELETE")
    ),
    "bridge.ContactNote": client_data(),
    "bridge.ConversationNote": client_data(),
    "bridge.ContactConsent": client_data(),
    "bridge.ContactImport": client_data(columns=("state",)),
    "bridge.ContactMerge": AuditedTable(
        columns=("source_id", "target_id", "by_id", "undone_at", "undone_by_id"), people_only=True
    ),
    "bridge.Erasure": AuditedTable(hidden=("outside",)),
    "bridge.HeldReply": client_data(columns=("state",), events=("UPDATE", "DELETE")),
}

_HISTORY = "is itself a history that names who and when"
_FLOW = "is written by the message flow; a person's part in it names the author"
_STATE = "state that the portal keeps for itself"
_ACCESS = "sign-ins are recorded as such"
EXEMPT: dict[str, str] = {
    "admin.LogEntry": _HISTORY,
    "audit.AuditRecord": "is the record",
    "auth.Permission": "written by migrations only",
    "contenttypes.ContentType": "written by migrations only",
    "sessions.Session": _ACCESS,
    "usersessions.UserSession": _ACCESS,
    "axes.AccessFailureLog": _ACCESS,
    "axes.AccessAttempt": _ACCESS,
    "axes.AccessAttemptExpiration": _ACCESS,
    "axes.AccessLog": _ACCESS,
    "accounts.SharedCacheEntry": _STATE,
    "account.EmailConfirmation": "not used: the links are signed, not stored",
    "templates_registry.Registry": _STATE,
    "templates_registry.TemplateUse": "favorites of a person, for this person only",
    "templates_registry.TemplateVersion": _HISTORY,
    "templates_registry.TemplateEvent": _HISTORY,
    "bridge.AlertNotice": _STATE,
    "bridge.FormerId": _FLOW,
    "bridge.Message": _FLOW,
    "bridge.Attachment": _FLOW,
    "bridge.StrayStatus": _FLOW,
    "bridge.PendingCorrection": _FLOW,
    "bridge.Draft": _FLOW,
    "bridge.Notification": _STATE,
    "bridge.OperatorAvailability": _STATE,
    "bridge.NotificationSettings": _STATE,
    "bridge.PushKey": _STATE,
    "bridge.PushMessage": _STATE,
    "bridge.PushSubscription": _STATE,
    "bridge.Upload": _FLOW,
    "bridge.ProviderUpload": _STATE,
    "bridge.ErasedMessage": _STATE,
    "bridge.ErasedHelpdeskNumber": _STATE,
    "bridge.LoggedErasure": _STATE,
    "bridge.FileDeletion": _STATE,
    "bridge.ContactChange": _HISTORY,
    "bridge.ConversationActivity": _HISTORY,
    "bridge.NoteMention": "belongs to ConversationNote",
    "bridge.Delivery": "people's decisions about it are DeliveryDecision",
    "bridge.Attempt": _FLOW,
    "bridge.CircuitBreaker": _STATE,
    "bridge.RateLimit": _STATE,
    "bridge.IdempotencyKey": _STATE,
    "bridge.Heartbeat": _STATE,
    "bridge.WriteProbe": _STATE,
    "bridge.StorageSnapshot": _STATE,
    "bridge.HelpdeskChat": _FLOW,
    "bridge.HelpdeskReply": _FLOW,
    "bridge.HelpdeskDuplicateWindow": _STATE,
    "bridge.HelpdeskConnection": "state of the connection; its settings belong to ChatChannel",
    "bridge.TemplateLink": _FLOW,
    "bridge.MergedConversation": "belongs to ContactMerge",
    "bridge.TemplateTest": _HISTORY,
    "bridge.TicketTag": "list of the tags that requests have had",
    "bridge.ServiceWindow": _FLOW,
    "bridge.ClosingReminder": _FLOW,
    "bridge.AutomaticAssignment": "says what the portal assigned by itself",
    "bridge.AutomaticReply": _FLOW,
    "bridge.Snooze": "an operator's own reminder; the thread says who snoozed the chat",
    "bridge.DeskSettings": "personal settings of the desk; they give no access",
    "bridge.ChatPin": "order of an operator's own list",
}


@dataclass(frozen=True, kw_only=True)
class ResolvedTable:
    """An audited table with its names in the database."""

    rule: AuditedTable
    table: str
    object_type: str
    id_column: str
    link: str = ""  # many-to-many field: a row is a change of the object that the ID column points to
    columns: tuple[str, ...] = ()  # all columns of the table

    def as_json(self) -> dict[str, Any]:
        """Return the argument of the trigger function."""
        rule = self.rule
        values = {
            "type": self.object_type,
            "id": self.id_column,
            "link": self.link,
            "linked": [column for column in self.columns if column != self.id_column] if self.link else [],
            "label": rule.label,
            "columns": list(rule.columns),
            "hidden": list(self.columns if rule.hides_all else rule.hidden),
            "urls": list(rule.urls),
            "ignored": list(rule.ignored),
            "people_only": rule.people_only,
        }
        return {name: value for name, value in values.items() if value}


def resolve_table(name: str) -> ResolvedTable:
    """Return the names in the database for a key of ``AUDITED``."""
    app, model_name, *field_names = name.split(".")
    model, rule = apps.get_model(app, model_name), AUDITED[name]
    if not field_names:
        pk = model._meta.pk.column
        columns = tuple(field.column for field in model._meta.concrete_fields)
        return ResolvedTable(
            rule=rule, table=model._meta.db_table, object_type=model._meta.label_lower, id_column=pk, columns=columns
        )
    field: Any = model._meta.get_field(field_names[0])
    through = field.remote_field.through
    return ResolvedTable(
        rule=rule,
        table=through._meta.db_table,
        object_type=model._meta.label_lower,
        id_column=field.m2m_column_name(),
        link=field_names[0],
        columns=(field.m2m_column_name(), field.m2m_reverse_name()),
    )


@cache
def audited_tables() -> dict[str, bool]:
    """Return the audited tables of the database, and whether only people's changes of them are recorded."""
    tables = {"audit_record": False}
    return tables | {resolved.table: resolved.rule.people_only for resolved in map(resolve_table, AUDITED)}
