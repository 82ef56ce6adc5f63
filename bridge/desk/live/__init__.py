"""What keeps an open page current: polling, presence, closing warnings."""
