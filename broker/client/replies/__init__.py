"""Answers on their way back: the reply queue, who waits, and large ones."""

from effectmq.moved import names_of

__getattr__ = names_of(__name__, "book")
