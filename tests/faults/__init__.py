"""Proof by faults, on the real processes: nothing lost, nothing twice, nothing out of order.

Short forms run with the suite; `make faults` runs the full figures and writes docs/reliability.md. The parts: a stack
of its own (`stack`), gates in front of PostgreSQL and Valkey (`gate`), a provider that resends what was not answered
2xx (`provider`), a receiver with a behavior per path that writes down what it got (`receiver`), points at which a
process kills itself (`failpoints`), and the check after every run (`ledger`).
"""
