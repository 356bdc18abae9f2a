"""Sending, asking after, cancelling and keeping messages."""
