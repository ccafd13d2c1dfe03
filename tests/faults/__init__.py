"""Faults for real: kills, interruptions and odd file systems, on studies of the smallest budget.

A sample runs with the other tests; `FAULTS=all pytest tests/faults` runs the whole, for hours.
"""
