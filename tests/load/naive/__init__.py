"""The portal as one would write it in an afternoon: a view that stores and calls a task, one task for each message.

What ``bench_relay`` compares with, on the same servers with the same number of processes.
"""
