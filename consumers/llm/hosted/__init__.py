"""The models of hosted providers, behind pydantic-ai."""

from effectmq.moved import names_of

__getattr__ = names_of(__name__, "adapter")
