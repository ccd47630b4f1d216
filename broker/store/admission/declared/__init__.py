"""Limits and shares as programs and operators declare them, and what they are told apart by."""
