"""Read the answers of providers, from bodies and streams."""
