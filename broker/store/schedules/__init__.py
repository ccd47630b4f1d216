"""Schedules in the journal's database: what they are, and how far they came."""
