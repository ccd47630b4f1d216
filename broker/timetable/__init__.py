"""When schedules fire, and what they ask for: pure decisions, without a clock."""
