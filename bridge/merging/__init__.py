"""Merging two contacts of one person, with a preview and an undo within 24 hours."""
