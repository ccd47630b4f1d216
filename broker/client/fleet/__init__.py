"""Asks the workers of a namespace how they are, and steers them."""
