"""Import and export of templates as files."""
