"""What a worker sends: replies, chunks, delays and parked effects."""
