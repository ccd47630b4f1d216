"""What may start and whose turn it is: decided without I/O, but for the numbers of turns."""
