"""Tool calls of models: from what a model wrote, and back to what it is told."""
