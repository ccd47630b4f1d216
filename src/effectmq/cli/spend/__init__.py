"""``effectmq spend``: what was spent, and ceilings."""
