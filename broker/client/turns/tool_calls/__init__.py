"""What a turn needs to call tools: batches, functions and their arguments, one tool for many."""
