"""Questions on their way: what is missing for them, asked again, cancelled, and for how long."""
