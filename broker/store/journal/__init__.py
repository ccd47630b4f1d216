"""What is kept of every effect: its record, its lease, and the rules of both."""
