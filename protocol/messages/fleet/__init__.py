"""What is asked of workers while they run, and what they answer; over the control exchange."""
