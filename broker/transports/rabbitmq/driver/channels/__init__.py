"""A channel of a connection, what becomes of a publish on it, and what would be permitted on it."""
