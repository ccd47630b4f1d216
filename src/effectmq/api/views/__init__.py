"""What answers are made of, where one look at the journal or the broker is not enough."""
