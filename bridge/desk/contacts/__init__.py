"""The Contacts page: search, filters and order of clients; files in and out."""
