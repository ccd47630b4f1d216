"""What is known of dead letters beside their queue: an index to look at, and who did what."""
