"""What workers tell each other: what they can do, and which messages they have held."""
