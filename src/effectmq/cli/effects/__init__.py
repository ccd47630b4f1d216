"""``effectmq effects``: what the journal knows."""
