"""The identity of an effect: its invocation, its ids and hashes, and the rules of validity."""
