"""JSON Schema and AsyncAPI of what travels, made from the types, for other languages."""
