"""Of several effects with one key only the last runs: who that is, in the journal's database."""
