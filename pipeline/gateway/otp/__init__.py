"""Login codes: made, sent, verified."""
