"""Measurements. Every figure is a ratio or a percentile taken in one run on one machine.

``python -m benchmarks`` runs all cases, ``python -m benchmarks compose`` one. They are no tests:
machines are noisy, and a figure is only worth what it is compared with.
"""
