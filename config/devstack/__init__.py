"""Local PostgreSQL and Valkey, and the supervisor of `make up`. Not used in production."""
