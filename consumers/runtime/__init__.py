"""What a worker needs from its process: threads, signals, health and the watchdog."""
