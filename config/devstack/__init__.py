"""Embedded PostgreSQL and Valkey, and the supervisor behind `make up`. Not needed in production."""
