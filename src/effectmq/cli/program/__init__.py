"""The program that a command line names: found, and started again when its source changes."""
