"""Two contacts that are one person: merged by a person, with a preview, and undone within a day."""
