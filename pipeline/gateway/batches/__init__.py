"""Files of recipients, and what became of them."""
