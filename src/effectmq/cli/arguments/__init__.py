"""Parsers of the command line, and the options that commands share."""
