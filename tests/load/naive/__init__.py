"""Naive implementation of the portal: a view that stores a message, and one task per message.

``bench_relay`` compares the portal with it, on the same servers and with the same number of processes.
"""
