"""
The rules of the process registry, as pure functions.

Section 8 of the wire format without its storage: the rules of a registration, the effects of an
event, waits and wakes, and the conversion between the outputs of processes and tools. Texts of
errors are those of the contract, word for word, because callers on the other side may compare them.
"""
