"""JSON as Rust writes it: values, limits, and the base of the wire types."""
