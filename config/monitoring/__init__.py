"""Health checks, Prometheus metrics, and the format and redaction of log lines."""
