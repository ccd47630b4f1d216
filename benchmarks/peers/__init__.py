"""The same round trip through other libraries; see ``python -m benchmarks.peers -h``."""
