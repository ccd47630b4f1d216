"""The workers: they carry effects out."""
