"""
The two wires to a server, below the library: all messages are read here first.

Each request gets exactly one answer, whatever the server does, and each error says where it came
from.
"""
