"""The base of the wire types: pydantic, told to read and to write as serde does."""
