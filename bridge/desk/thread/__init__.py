"""One chat as it is read: messages, their state and their trail."""
