"""Tests of limits in the store."""
