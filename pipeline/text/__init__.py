"""Alphabets, parts, transliteration and templates. Pure functions over text."""

from pipeline.text.characters import LOOKALIKES, as_sent, non_gsm, normalise, transliterate
from pipeline.text.encoding import GSM7, UCS2, Encoded, Part, decode, encode
from pipeline.text.templates import Template

__all__ = [
    "GSM7",
    "LOOKALIKES",
    "UCS2",
    "Encoded",
    "Part",
    "Template",
    "as_sent",
    "decode",
    "encode",
    "non_gsm",
    "normalise",
    "transliterate",
]
