"""Audit record: who changed, viewed or exported what, when and from where. Append-only, written by the database."""
