"""A carrier to test against: the HTTP contract served by a process of its own, with every misbehaviour on request."""

from pipeline.carriers.simulator.app import create_app
from pipeline.carriers.simulator.behaviour import Behaviour
from pipeline.carriers.simulator.journal import Journal
from pipeline.carriers.simulator.receipts import Receipts
from pipeline.carriers.simulator.server import run
from pipeline.carriers.simulator.stats import Stats

__all__ = ["Behaviour", "Journal", "Receipts", "Stats", "create_app", "run"]
