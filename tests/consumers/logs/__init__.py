"""Tests of what a worker logs about effects."""
