"""Trials of what must not happen; `benchmarks/faults.py` runs them."""
