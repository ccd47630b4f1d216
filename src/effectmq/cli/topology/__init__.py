"""``effectmq topology`` and ``effectmq queues``: exchanges, queues and bindings."""
