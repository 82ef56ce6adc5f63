"""Models of conversations, messages and deliveries. Import them from this package.

Database constraints guarantee the invariants. Lock order: conversation, window, ticket, delivery, message.
"""

from .activity import ConversationActivity
from .alerts import Alert, AlertNotice
from .automation import AutomaticAssignment, AutomaticReply, ChannelAutomation, Macro, Snooze
from .availability import OperatorAvailability
from .consents import ConsentSource, ContactConsent, OptOut, OptOutSource
from .contact_changes import ContactChange
from .contact_fields import ContactField
from .contact_imports import ContactImport
from .contacts import Contact, ContactQuerySet, FormerId
from .conversations import ACTIVE_STATUSES, ChangeAfterAnswer, Conversation, ConversationQuerySet, Ticket
from .deliveries import Attempt, BulkAction, DeadLetter, Delivery, DeliveryDecision, new_delivery_key
from .desk import CannedResponse, ChatPin, ContactNote, Draft, ProviderUpload, Upload
from .desk_settings import DeskSettings
from .destinations import CircuitBreaker, Mismatch, RateLimit
from .erasures import ErasedHelpdeskNumber, ErasedMessage, Erasure, FileDeletion, LoggedErasure
from .events import Heartbeat, IdempotencyKey, WebhookEvent, WriteProbe
from .helpdesk import HelpdeskChat, HelpdeskConnection, HelpdeskDuplicateWindow, HelpdeskReply, TemplateLink
from .merges import ContactMerge, MergedConversation
from .messages import Attachment, HeldReply, Message, PendingCorrection, StrayStatus
from .notes import ConversationNote, NoteMention
from .notifications import (
    Notification,
    NotificationKind,
    NotificationSettings,
    PushKey,
    PushMessage,
    PushSubscription,
)
from .retention import RetentionKind, RetentionRule, StorageSnapshot
from .saved_views import SavedView
from .template_tests import TemplateTest
from .ticket_fields import TicketField, TicketTag
from .windows import ClosingReminder, ServiceWindow

__all__ = [
    "ACTIVE_STATUSES",
    "Alert",
    "AlertNotice",
    "Attachment",
    "Attempt",
    "AutomaticAssignment",
    "AutomaticReply",
    "BulkAction",
    "CannedResponse",
    "ChangeAfterAnswer",
    "ChannelAutomation",
    "ChatPin",
    "CircuitBreaker",
    "ClosingReminder",
    "ConsentSource",
    "Contact",
    "ContactChange",
    "ContactConsent",
    "ContactField",
    "ContactImport",
    "ContactMerge",
    "ContactNote",
    "ContactQuerySet",
    "Conversation",
    "ConversationActivity",
    "ConversationNote",
    "ConversationQuerySet",
    "DeadLetter",
    "Delivery",
    "DeliveryDecision",
    "DeskSettings",
    "Draft",
    "ErasedHelpdeskNumber",
    "ErasedMessage",
    "Erasure",
    "FileDeletion",
    "FormerId",
    "Heartbeat",
    "HeldReply",
    "HelpdeskChat",
    "HelpdeskConnection",
    "HelpdeskDuplicateWindow",
    "HelpdeskReply",
    "IdempotencyKey",
    "LoggedErasure",
    "Macro",
    "MergedConversation",
    "Message",
    "Mismatch",
    "NoteMention",
    "Notification",
    "NotificationKind",
    "NotificationSettings",
    "OperatorAvailability",
    "OptOut",
    "OptOutSource",
    "PendingCorrection",
    "ProviderUpload",
    "PushKey",
    "PushMessage",
    "PushSubscription",
    "RateLimit",
    "RetentionKind",
    "RetentionRule",
    "SavedView",
    "ServiceWindow",
    "Snooze",
    "StorageSnapshot",
    "StrayStatus",
    "TemplateLink",
    "TemplateTest",
    "Ticket",
    "TicketField",
    "TicketTag",
    "Upload",
    "WebhookEvent",
    "WriteProbe",
    "new_delivery_key",
]
