"""What waits in the queues of a namespace, how fast it comes and goes, and who takes it."""
