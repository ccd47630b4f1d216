"""The transport of effects, and the stores of what is kept of them."""
