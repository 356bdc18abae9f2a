"""Prohibited words and links: lists and matching. Pure functions over text."""

from pipeline.moderation.domains import LinkPolicy
from pipeline.moderation.rules import Hit, Rules
from pipeline.moderation.termlist import EMPTY, TermList
from pipeline.moderation.terms import Term, parse_terms

__all__ = ["EMPTY", "Hit", "LinkPolicy", "Rules", "Term", "TermList", "parse_terms"]
