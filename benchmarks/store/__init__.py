"""What the journal costs, and looks at it when it is large."""
