"""Step 1: authenticate raw requests, store them, answer."""
