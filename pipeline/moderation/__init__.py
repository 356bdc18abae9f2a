"""Prohibited words and links: lists and matching. Pure functions over text."""

from pipeline.moderation.domains import LinkPolicy
from pipeline.moderation.rules import Hit, Rules
from pipeline.moderation.terms import Term, parse_terms

__all__ = ["Hit", "LinkPolicy", "Rules", "Term", "parse_terms"]
