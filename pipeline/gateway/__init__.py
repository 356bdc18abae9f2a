"""The HTTP door: requests in, messages asked after, carriers' receipts in. Everything that enters is durable in Kafka
before it is answered, and nothing is decided here that a stage decides.
"""

from pipeline.gateway.app import create_app
from pipeline.gateway.server import run

__all__ = ["create_app", "run"]
