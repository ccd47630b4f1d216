"""Find the program that a command line names, and restart it when its source changes."""
