"""Carries out schedules: every worker with a journal does."""
