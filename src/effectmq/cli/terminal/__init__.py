"""What is shown in a terminal: output, tables, progress and logs."""
