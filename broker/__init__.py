"""How effects travel, and what is kept of them."""
