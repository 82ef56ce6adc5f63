"""The web server process: start, request buffering, limits, worker watch."""
