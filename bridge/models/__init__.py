"""What the stations write down, by theme. The constraints here are the promises; the code only keeps them pleasant.

Locks are always taken in this order: conversation, window, ticket, delivery, message. Everybody imports from here.
"""

from .contact_changes import ContactChange
from .contacts import Contact, ContactQuerySet, FormerId
from .conversations import AT_WORK, ChangeAfterAnswer, Conversation, ConversationQuerySet, Ticket
from .deliveries import Attempt, BulkAction, DeadLetter, Delivery, DeliveryDecision, new_delivery_key
from .desk import CannedResponse, ContactNote, Draft, ErasedMessage, Erasure, ProviderUpload, Upload
from .destinations import Alert, Breaker, Mismatch, RateLimit
from .events import Heartbeat, IdempotencyKey, WebhookEvent, WriteProbe
from .helpdesk import HelpdeskBurst, HelpdeskChat, HelpdeskConnection, HelpdeskReply, TemplateLink
from .merges import ContactMerge, MergedConversation
from .messages import Attachment, HeldReply, Message, PendingCorrection, StrayStatus
from .template_tests import TemplateTest
from .ticket_fields import TicketField, TicketTag
from .windows import ServiceWindow, WindowWarning

__all__ = [
    "AT_WORK",
    "Alert",
    "Attachment",
    "Attempt",
    "Breaker",
    "BulkAction",
    "CannedResponse",
    "ChangeAfterAnswer",
    "Contact",
    "ContactChange",
    "ContactMerge",
    "ContactNote",
    "ContactQuerySet",
    "Conversation",
    "ConversationQuerySet",
    "DeadLetter",
    "Delivery",
    "DeliveryDecision",
    "Draft",
    "ErasedMessage",
    "Erasure",
    "FormerId",
    "Heartbeat",
    "HeldReply",
    "HelpdeskBurst",
    "HelpdeskChat",
    "HelpdeskConnection",
    "HelpdeskReply",
    "IdempotencyKey",
    "MergedConversation",
    "Message",
    "Mismatch",
    "PendingCorrection",
    "ProviderUpload",
    "RateLimit",
    "ServiceWindow",
    "StrayStatus",
    "TemplateLink",
    "TemplateTest",
    "Ticket",
    "TicketField",
    "TicketTag",
    "Upload",
    "WebhookEvent",
    "WindowWarning",
    "WriteProbe",
    "new_delivery_key",
]
