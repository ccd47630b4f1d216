"""From what a tool returned or raised to its output on the wire."""

from effectmq.moved import names_of

__getattr__ = names_of(__name__, "special")
