"""Metrics: plain numbers that the hot path adds to, and what each of them means."""
