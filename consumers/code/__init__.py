"""Code blocks: run in an interpreter, with tools as functions and variables kept by session."""
