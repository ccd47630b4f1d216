"""What workers tell each other: what they can do, and which effects killed a worker."""
