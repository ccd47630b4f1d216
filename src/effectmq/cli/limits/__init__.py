"""``effectmq limits``: limits that hold for all workers."""
