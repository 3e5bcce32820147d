"""Benchmarks of single parts of Camber, within one process: `make bench ONLY=invalidation`.

They print, and judge nothing: machines differ, so what counts are ratios within one run.
"""
