"""Where accounts want to be told, and what became of that."""
