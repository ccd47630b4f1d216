"""The HTTP API, ``/api/v1``: what the command line can look at and do, for programs and pages."""
