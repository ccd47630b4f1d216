"""Tests of ``protocol.answering``."""
