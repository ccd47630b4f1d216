"""Limits that hold for all workers together, and the room in which effects wait for them."""
