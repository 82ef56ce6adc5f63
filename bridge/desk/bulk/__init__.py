"""Actions on many requests or chats at once."""
