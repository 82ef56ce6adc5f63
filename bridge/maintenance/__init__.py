"""Periodic work: expiry, reconciliation, erasure, the database write probe."""
