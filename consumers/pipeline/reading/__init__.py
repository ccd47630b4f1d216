"""A message becomes a request: bodies out of line, and what cannot be read here."""
