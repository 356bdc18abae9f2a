"""Alphabets, parts, transliteration and templates. Pure functions over text."""

from pipeline.text.bulk import Filling, fill, longest_of
from pipeline.text.characters import as_sent, non_gsm, normalise, transliterate
from pipeline.text.choice import GSM7, UCS2
from pipeline.text.encoding import Encoded, Measured, Part, decode, encode, measure
from pipeline.text.explanation import Choice, Option, explain, several
from pipeline.text.lookalikes import LOOKALIKES
from pipeline.text.templates import Template
from pipeline.text.wire import LANGUAGES, PLAIN, Concatenation, Wire, common

__all__ = [
    "GSM7",
    "LANGUAGES",
    "LOOKALIKES",
    "PLAIN",
    "UCS2",
    "Choice",
    "Concatenation",
    "Encoded",
    "Filling",
    "Measured",
    "Option",
    "Part",
    "Template",
    "Wire",
    "as_sent",
    "common",
    "decode",
    "encode",
    "explain",
    "fill",
    "longest_of",
    "measure",
    "non_gsm",
    "normalise",
    "several",
    "transliterate",
]
