"""Code blocks in Monty, an interpreter in this process."""

from effectmq.moved import names_of

__getattr__ = names_of(__name__, "engine")
