"""The list of chats: filters, search, rows."""
