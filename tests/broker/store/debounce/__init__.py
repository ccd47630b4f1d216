"""Tests of debouncing in the store."""
