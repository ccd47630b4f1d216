"""The base of the wire types: pydantic models that are read and written by the rules of serde."""
