"""Schedules as people and programs make them, and the effects that they ask for."""
