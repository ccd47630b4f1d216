"""One connection that is kept alive: backoff, choice of the address, and ending of tasks."""
