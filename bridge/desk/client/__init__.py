"""The contact pane of a chat."""
