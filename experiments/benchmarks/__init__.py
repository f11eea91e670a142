"""Benchmarks: timings taken in turn in one run, beside their targets or as ratios."""
