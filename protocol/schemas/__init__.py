"""JSON Schema and AsyncAPI of the wire, made from the types, for other languages."""
