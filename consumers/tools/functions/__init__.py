"""From a typed Python function to a tool: signature, schemas, arguments, and the way back."""

from effectmq.moved import names_of

__getattr__ = names_of(__name__, "typed")
