"""The stores: databases, the journal, processes, sessions and attachments."""
