"""What is kept: databases, the journal, processes, sessions and attachments."""
