"""A worker hears what is asked of it while it runs, does it, and reports."""
