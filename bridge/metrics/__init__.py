"""Counters and histograms: counted in each process, added up in Redis, exported by config.monitoring."""
