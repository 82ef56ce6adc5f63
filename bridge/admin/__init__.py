"""Admin pages of the bridge. Importing the modules registers them."""

from . import (
    api_channels,
    audit_records,
    contacts,
    conversations,
    dead_letters,
    deliveries,
    desk_records,
    messages,
    ticket_fields,
)

__all__ = [
    "api_channels",
    "audit_records",
    "contacts",
    "conversations",
    "dead_letters",
    "deliveries",
    "desk_records",
    "messages",
    "ticket_fields",
]
