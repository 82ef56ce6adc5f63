"""The contact pane beside a chat."""
