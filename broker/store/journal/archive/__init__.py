"""The journal as people read it: selected, counted, followed, pruned and verified."""
