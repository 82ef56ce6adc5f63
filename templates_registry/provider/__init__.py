"""Synchronization with the provider's list of templates, and submission for approval."""
