"""What happens to the rows of every table over time. ``tests/test_table_rules.py`` demands an entry for each.

``PRUNED``: rows older than the rule of a kind are deleted. ``CLEANED``: another job deletes or clears them.
``KEPT``: the reason why the rows stay. A new table needs an entry in one of the three.
"""

from __future__ import annotations

from dataclasses import dataclass

from bridge.models import RetentionKind


@dataclass(frozen=True, kw_only=True)
class PrunedTable:
    """Rows whose ``age`` column is before the limit are deleted, oldest first, in batches. ``index`` serves the search.

    No index: the table stays small, because its rows come from people and are deleted by this rule.
    """

    kind: RetentionKind
    table: str
    age: str
    condition: str = "TRUE"
    index: str = ""


_RECORDS, _SIGN_INS = RetentionKind.RECORDS, RetentionKind.SIGN_INS
PRUNED: dict[str, PrunedTable] = {
    "axes.AccessAttempt": PrunedTable(kind=_SIGN_INS, table="axes_accessattempt", age="attempt_time"),
    "axes.AccessFailureLog": PrunedTable(kind=_SIGN_INS, table="axes_accessfailurelog", age="attempt_time"),
    "axes.AccessLog": PrunedTable(kind=_SIGN_INS, table="axes_accesslog", age="attempt_time"),
    "bridge.IdempotencyKey": PrunedTable(
        kind=_RECORDS, table="bridge_idempotencykey", age="created_at", index="idempotency_by_age"
    ),
    "bridge.ClosingReminder": PrunedTable(
        kind=_RECORDS, table="bridge_closingreminder", age="created_at", index="reminders_by_age"
    ),
    "bridge.AutomaticAssignment": PrunedTable(
        kind=_RECORDS,
        table="bridge_automaticassignment",
        age="created_at",
        index="automatic_assignments_by_age",
    ),
    "bridge.Notification": PrunedTable(
        kind=_RECORDS, table="bridge_notification", age="created_at", index="notifications_by_age"
    ),
    "bridge.StrayStatus": PrunedTable(kind=_RECORDS, table="bridge_straystatus", age="received_at"),
    "bridge.HelpdeskReply": PrunedTable(
        kind=_RECORDS, table="bridge_helpdeskreply", age="received_at", index="replies_by_age"
    ),
    "bridge.HelpdeskDuplicateWindow": PrunedTable(
        kind=_RECORDS, table="bridge_helpdeskduplicatewindow", age="began_at", index="duplicate_windows_by_age"
    ),
    "bridge.TemplateLink": PrunedTable(
        kind=_RECORDS, table="bridge_templatelink", age="expires_at", index="bridge_templatelink_expires_at"
    ),
    "bridge.Alert": PrunedTable(
        kind=_RECORDS, table="bridge_alert", age="settled_at", condition="settled_at IS NOT NULL"
    ),
    "bridge.Mismatch": PrunedTable(
        kind=_RECORDS, table="bridge_mismatch", age="settled_at", condition="settled_at IS NOT NULL"
    ),
    "channels_setup.Handover": PrunedTable(
        kind=_RECORDS,
        table="channels_setup_handover",
        age="created_at",
        condition="first_event_at IS NULL AND confirmed_at IS NULL",
    ),
    "admin.LogEntry": PrunedTable(kind=RetentionKind.AUDIT, table="django_admin_log", age="action_time"),
}

# Requests of helpdesks and of refused calls. Those of a channel may have another limit: see ``retention``.
EVENTS_WITHOUT_CHANNEL = PrunedTable(
    kind=RetentionKind.EVENTS,
    table="bridge_webhookevent",
    age="received_at",
    condition="api_channel_id IS NULL AND state <> 'new'",
    index="events_of_channel",
)

_WITH_MESSAGES = "with the texts of the messages of its channel"
CLEANED: dict[str, str] = {
    "audit.AuditRecord": "by the rule for audit records, once a day (`audit_prune`)",
    "bridge.Delivery": "by the rule for deliveries; with its message, the content",
    "bridge.DeliveryDecision": "with its delivery",
    "bridge.Attempt": "by the rule for attempts, or with its delivery",
    "bridge.AlertNotice": "with its alert",
    "bridge.WebhookEvent": "by the rule for raw requests of its channel, or of the portal",
    "bridge.Message": "words by the rule for messages; time, direction, author and status stay for reports",
    "bridge.Attachment": "file by the rule for files; the name stays with the message",
    "bridge.Snooze": "when the chat wakes",
    "bridge.Draft": _WITH_MESSAGES,
    "bridge.ConversationActivity": _WITH_MESSAGES,
    "bridge.ConversationNote": _WITH_MESSAGES,
    "bridge.NoteMention": "with its note",
    "bridge.HeldReply": "text " + _WITH_MESSAGES + " once it is finished",
    "bridge.PendingCorrection": _WITH_MESSAGES,
    "bridge.Upload": "by the rule for files; if it was not sent, when its link expires",
    "bridge.ProviderUpload": "when the provider forgets the file",
    "bridge.RateLimit": "after an hour without use",
    "bridge.PushMessage": "ten minutes after its event",
    "bridge.PushSubscription": "when its session ends, or its user removes the device",
    "bridge.FileDeletion": "when the file is deleted",
    "bridge.ContactImport": "rows when it has ended or after a day, refused rows after a day, the result after 90 days",
    "bridge.MergedConversation": "a day after the merge, when it can no longer be undone",
    "bridge.StorageSnapshot": "after 400 days",
    "sessions.Session": "when it expires (`SESSION_IDLE_HOURS`)",
    "usersessions.UserSession": "a day after its session has ended",
    "accounts.SharedCacheEntry": "when it expires",
    "axes.AccessAttemptExpiration": "with its access attempt",
}

_CONFIGURED = "set up by people; few rows"
_CLIENT = "until the client is erased; one row per client, chat or case"
_STATE = "one row per channel, worker or name"
KEPT: dict[str, str] = {
    **dict.fromkeys(
        (
            *("accounts.User", "accounts.ApiToken", "auth.Group", "auth.Permission", "account.EmailAddress"),
            *("account.EmailConfirmation", "mfa.Authenticator", "socialaccount.SocialApp"),
            *("socialaccount.SocialAccount", "socialaccount.SocialToken", "contenttypes.ContentType"),
            *("channels_setup.ApiChannel", "channels_setup.ChatChannel", "channels_setup.Team"),
            "channels_setup.AlertRoute",
            *("channels_setup.Secret", "channels_setup.Credential", "channels_setup.WebhookAddress"),
            *("templates_registry.Template", "templates_registry.TemplateTags", "templates_registry.TemplateUse"),
            *("bridge.CannedResponse", "bridge.TicketField", "bridge.RetentionRule", "bridge.DeskSettings"),
            *("bridge.ChannelAutomation", "bridge.Macro", "bridge.SavedView", "bridge.ContactField"),
        ),
        _CONFIGURED,
    ),
    **dict.fromkeys(
        (
            *("bridge.Contact", "bridge.Conversation", "bridge.Ticket", "bridge.ContactNote", "bridge.HelpdeskChat"),
            "bridge.ContactConsent",
        ),
        _CLIENT,
    ),
    **dict.fromkeys(
        (
            *("bridge.CircuitBreaker", "bridge.Heartbeat", "bridge.WriteProbe", "bridge.HelpdeskConnection"),
            "templates_registry.Registry",
        ),
        _STATE,
    ),
    "bridge.OperatorAvailability": "one row per operator",
    "bridge.ChatPin": "until its operator unpins the chat; 20 per operator",
    "bridge.NotificationSettings": "one row per operator",
    "bridge.PushKey": "one row",
    "bridge.ServiceWindow": "reports of missed windows count them; about 100 bytes per client and day of contact",
    "bridge.AutomaticReply": "at most one per service window; says that the window has had its reply",
    "bridge.FormerId": "recognizes a client by an earlier ID; few clients change it",
    "bridge.ContactChange": "says who changed a client's card, until the client is erased",
    "bridge.ContactMerge": "says who merged which clients; few rows",
    "bridge.BulkAction": "says who resent or discarded what; few rows",
    "bridge.TicketTag": "one row per tag",
    "bridge.TemplateTest": "ten an hour for each admin at most",
    "templates_registry.TemplateVersion": "says what was approved and sent; one row per change of a template",
    "templates_registry.TemplateEvent": "history of a template; one row per change",
    "bridge.Erasure": "proof of an erasure, without personal data",
    "bridge.LoggedErasure": "proof of an erasure, without personal data",
    "bridge.ErasedHelpdeskNumber": "hash that keeps a late event of a helpdesk from restoring an erased person",
    "bridge.ErasedMessage": "hash that keeps a repeated webhook from restoring an erased message",
}
