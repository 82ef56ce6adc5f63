"""The client pane of a chat."""
