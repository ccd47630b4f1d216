"""One kind of effect, beside the same thing in-process."""
