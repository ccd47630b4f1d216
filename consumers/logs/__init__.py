"""What a worker logs about single effects: how they ended, and what was raised."""
