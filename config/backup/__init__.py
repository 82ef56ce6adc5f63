"""Backup and restore of a portal: database, files, erasure log. See docs/backup.md."""
