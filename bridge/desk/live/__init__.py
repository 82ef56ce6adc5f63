"""Live updates of an open page: polling, presence, closing warnings."""
