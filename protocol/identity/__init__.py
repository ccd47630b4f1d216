"""Who an effect is: its invocation, its ids and hashes, and what makes it valid."""
