"""Simulators of outside services: the same wire, on loopback, and they can be told to misbehave."""
