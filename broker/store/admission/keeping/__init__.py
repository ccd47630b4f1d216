"""What is kept of it in one transaction: permits, the room, and their upkeep."""
