"""The schemas for other languages."""
