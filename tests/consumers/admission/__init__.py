"""Tests of limits in a worker."""
