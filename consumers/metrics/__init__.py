"""The metrics of a worker: what its routes count and measure, and what is true at the moment."""
