"""Answers: the reply queue, the callers that wait, and large answers."""

from effectmq.moved import names_of

__getattr__ = names_of(__name__, "book")
