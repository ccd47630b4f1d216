"""``effectmq doctor``: whether everything is in place."""
