"""Publishing effects: with their time limits, repeated when needed, and cancelled."""
