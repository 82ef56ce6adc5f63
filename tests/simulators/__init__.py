"""Simulators of outside services for tests, demos and training, on loopback only. They misbehave on demand."""
