"""What lies in a queue: requests, replies, chunks, notices and dead letters."""
