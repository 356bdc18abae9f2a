"""Recipients and senders. Pure functions over strings."""

from pipeline.numbers.recipient import Recipient, classify
from pipeline.numbers.sender import check_sender

__all__ = ["Recipient", "check_sender", "classify"]
