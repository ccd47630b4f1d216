"""The wire types, one module a concern; each module's docstring says which of them it holds."""
