"""``effectmq dead``: dead letters."""
