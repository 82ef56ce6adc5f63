"""Admin pages of the bridge. Importing the modules registers them."""

from . import (
    alert_routes,
    alerts,
    api_channels,
    audit_records,
    contact_fields,
    contacts,
    conversations,
    dead_letters,
    deliveries,
    desk_records,
    messages,
    retention,
    ticket_fields,
)

__all__ = [
    "alert_routes",
    "alerts",
    "api_channels",
    "audit_records",
    "contact_fields",
    "contacts",
    "conversations",
    "dead_letters",
    "deliveries",
    "desk_records",
    "messages",
    "retention",
    "ticket_fields",
]
