"""Matching of pasted text to a template and its values. Pure: no database."""
