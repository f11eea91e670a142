"""Benchmarks: every number is a ratio of timings taken in turn in one run."""
