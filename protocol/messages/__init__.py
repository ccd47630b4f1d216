"""The messages in queues: requests, replies, chunks, notices and dead letters."""
