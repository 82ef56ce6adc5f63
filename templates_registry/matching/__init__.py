"""Pasted text to template and values, without a database."""
