"""The consumers of a worker's routes: opened, stopped, and changed while it runs."""
