"""Code blocks in CPython, in a child process inside a bubblewrap sandbox."""
