"""Benchmarks. Every figure is a ratio or a percentile of one run on one machine.

``python -m benchmarks`` runs all cases, ``python -m benchmarks compose`` one. They are not tests:
timings vary between machines and runs, so compare figures only within one run.
"""
