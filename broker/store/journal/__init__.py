"""The journal: the record of every effect, its lease, and the rules of both."""
