"""What a producer says of an effect beside its envelope, in headers."""
