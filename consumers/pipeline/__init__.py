"""One delivery, from the message to its acknowledgement."""
