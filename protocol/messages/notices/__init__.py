"""What is told to all who listen: cancellations, priorities in use, probes."""
