"""Limits of the whole fleet in a worker: who may start, and who comes out of the room."""
