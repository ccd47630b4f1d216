"""The dashboard: pages over the HTTP API, served by the same process."""
