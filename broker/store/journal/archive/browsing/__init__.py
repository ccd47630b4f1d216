"""Looks at the journal for pages: what is inside of effects, sessions, and what happened lately."""
