"""The panel above the composer, and values filled in from the chat."""
