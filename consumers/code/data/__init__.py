"""Values that cross between a block of code and its host."""
