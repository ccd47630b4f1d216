"""What was given up: listed, shown, edited, replayed and purged."""
