"""Tool calls of models: from the text of a model, and back to a text for it."""
