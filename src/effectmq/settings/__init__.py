"""What can be set: the table, how it is typed, where it is said, and what counts."""
