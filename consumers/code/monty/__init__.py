"""Code blocks in Monty, an interpreter in processes of its own pool."""

from effectmq.moved import names_of

__getattr__ = names_of(__name__, "engine")
