"""Benchmarks: ``make bench``. They report ratios to floors that are measured around each run, on the same disk.

Absolute rates on a shared machine say little; the ratios and the CPU time per task are what to compare.
"""
