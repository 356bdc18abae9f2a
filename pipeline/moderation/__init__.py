"""Prohibited words: lists and matching. Pure functions over text."""

from pipeline.moderation.terms import EMPTY, Hit, TermList

__all__ = ["EMPTY", "Hit", "TermList"]
