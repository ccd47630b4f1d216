"""The program inside the sandbox; it imports nothing from outside of it."""
