"""
The rules of the process registry, as pure functions.

Section 8 of the wire format without its storage: what a registration must be, what an event does,
what waits and wakes come to, how an output and a tool's output become each other. Texts of errors
are those of the contract, word for word, because callers on the other side may compare them.
"""
