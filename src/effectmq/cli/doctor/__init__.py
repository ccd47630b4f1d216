"""``effectmq doctor``: checks of an installation."""
