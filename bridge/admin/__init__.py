"""Admin pages of the bridge. Importing the modules registers them."""

from . import audit_records, conversations, dead_letters, deliveries, desk_records, ticket_fields

__all__ = ["audit_records", "conversations", "dead_letters", "deliveries", "desk_records", "ticket_fields"]
