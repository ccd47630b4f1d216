"""What a worker needs of its process: threads, signals, health and the watchdog."""
