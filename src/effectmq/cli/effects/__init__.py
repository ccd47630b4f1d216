"""``effectmq effects``: the effects in the journal."""
