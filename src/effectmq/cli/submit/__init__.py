"""``effectmq submit``: submit one effect by hand."""

from effectmq.moved import names_of

__getattr__ = names_of(__name__, "command")
