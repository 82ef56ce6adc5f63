"""The thread of a chat: messages, their status and their delivery trail."""
