"""Admin pages of the bridge. Importing the modules registers them."""

from . import conversations, dead_letters, deliveries, desk_records, ticket_fields

__all__ = ["conversations", "dead_letters", "deliveries", "desk_records", "ticket_fields"]
