"""What providers answer, read from bodies and streams."""
