"""Dead letters: listed, shown, edited, replayed and purged."""
