"""Alerts, circuit breaker, rate limits and webhook inactivity per channel."""
