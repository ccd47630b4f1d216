"""Who may do what over HTTP: tokens, sessions of browsers, and what is refused before that."""
