"""Pure decisions about a delivery: facts in, an action out."""
