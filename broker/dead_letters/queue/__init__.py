"""The queue of dead letters: whose turn it is, what is held meanwhile, how letters leave it."""
