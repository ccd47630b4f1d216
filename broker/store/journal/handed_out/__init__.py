"""Effects that a handler has handed out: a person or another system gives the outcome."""
