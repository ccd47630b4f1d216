"""The effects of a turn, and operations on processes."""

from effectmq.moved import names_of

__getattr__ = names_of(__name__, "turn")
