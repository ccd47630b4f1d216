"""``effectmq workers`` and ``effectmq queues``: who works, and what waits."""
