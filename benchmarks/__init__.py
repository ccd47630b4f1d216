"""Comparisons of effectmq with the same work written by hand; see ``python -m benchmarks -h``."""
