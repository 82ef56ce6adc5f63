"""Settings of the admin site: the Unfold theme, its navigation and translations, the search limit."""
