"""The handler's run: attempts, due times, and effects that workers died of."""
