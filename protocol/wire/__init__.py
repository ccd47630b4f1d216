"""The types of the wire, one module for each concern; the modules' docstrings name them."""
