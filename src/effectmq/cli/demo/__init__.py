"""``effectmq demo``: effectmq at work in one process."""
