"""Exchange with the provider: its list of templates, and submission for approval."""
