"""Tools: functions that models call, their signatures, and what they return."""

from effectmq.moved import names_of

__getattr__ = names_of(__name__, "registry")
