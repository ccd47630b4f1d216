"""The variables of a session, kept from one block to the next."""
