"""Structured fuzzer: send hostile requests to every route in-process. No response may be a 5xx."""
