"""The producer's side: submit an effect, and wait for its outcome."""

from effectmq.moved import names_of

__getattr__ = names_of(__name__, "client")
