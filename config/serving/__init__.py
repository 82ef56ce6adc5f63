"""Web server process: start, buffering of request bodies, limits, supervision of workers."""
