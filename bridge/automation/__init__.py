"""What the portal does in chats by itself: assignment, automatic replies, waking of snoozed chats; and macros."""
