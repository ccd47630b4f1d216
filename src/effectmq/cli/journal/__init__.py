"""``effectmq journal``: the size and the health of the journal."""
