"""Channels: chat channels, API channels, their secrets, and the providers that they connect to."""
