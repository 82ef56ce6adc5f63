"""Limit design: the least work that stores a message durably and delivers it at least once.

A view with one statement, and one relay process with leases. It has the portal's durability, and nothing else: no
contacts, conversations, windows, order, attempts, limits or guarded addresses. ``bench_relay`` states which share of
its speed the portal reaches on the same machine.
"""
