"""The producer's side: submit an effect, hold it, and wait for what becomes of it."""

from effectmq.moved import names_of

__getattr__ = names_of(__name__, "client")
