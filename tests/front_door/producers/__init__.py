"""Producers that do not know effectmq."""
