"""A connection that comes back: when to try again, at which address, and how a task is ended."""
