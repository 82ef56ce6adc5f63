"""Fault tests on real processes: no message is lost, duplicated or reordered.

Short forms run with the suite; `make faults` runs the full figures and writes docs/reliability.md. The parts: a stack
of its own (`stack`), gates in front of PostgreSQL and Valkey (`gate`), a provider that resends what was not answered
2xx (`provider`), a receiver with a behavior per path that records its requests (`receiver`), points at which a
process kills itself (`failpoints`), and the check after every run (`ledger`).
"""
