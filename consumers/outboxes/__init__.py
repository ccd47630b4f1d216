"""What a worker sends: answers, chunks, delayed copies and dead letters."""
