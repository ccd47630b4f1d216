"""The words of a command line: parsers, and the options that commands share."""
