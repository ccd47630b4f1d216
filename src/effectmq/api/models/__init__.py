"""What is sent and answered: the schemas of the OpenAPI document."""
