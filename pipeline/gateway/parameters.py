"""Query parameters, read alike by every route: what can match nothing is refused, because an empty answer to a mistyped
filter reads like a true one. Refusals are 422 and name the parameter."""

import re
from http import HTTPStatus

from fastapi import Request
from fastapi.routing import APIRoute

from pipeline.billing.price_rows import parse_time
from pipeline.gateway.problems import Refusal, refuse
from schemas import errors
from schemas.errors import Error

#: What the names of a route's further parameters begin with.
CUSTOM = "custom."
_OPEN = {("GET", "/messages"): CUSTOM}
#: No number is shorter (E.164 national plans: +683 and four digits).
_NUMBER = re.compile(r"\+[1-9][0-9]{6,14}").fullmatch
_COUNTRY = re.compile(r"[A-Za-z]{2}|001").fullmatch
_SPACING = str.maketrans("", "", " \u00a0-./()")


def wrong(message: str) -> Refusal:
    """422: the message names the parameter and what to do."""
    return refuse(HTTPStatus.UNPROCESSABLE_ENTITY, errors.MALFORMED_REQUEST, message)


def unknown(request: Request) -> Refusal | None:
    """The query names a parameter that the route does not have: a misspelt filter would give everything."""
    route = request.scope["route"]
    assert isinstance(route, APIRoute)
    names = sorted(one.alias for one in route.dependant.query_params)
    further = _OPEN.get((request.method, route.path))
    for name in request.query_params:
        if name not in names and not (further and name.startswith(further)):
            there = ", ".join([*names, *([f"{further}KEY"] if further else [])])
            return wrong(f"{name[:64]}: unknown parameter; there {f'are {there}' if there else 'is none here'}")
    return None


def period(since: str | None, until: str | None) -> tuple[int | None, int | None] | Refusal:
    """Unix ms of `from` (inclusive) and `to` (exclusive); None where nothing is given."""
    found: list[int | None] = []
    for name, text in (("from", since), ("to", until)):
        moment = parse_time(text) if text else None
        if isinstance(moment, Error):
            return wrong(f"{name}: {moment.message}")
        found.append(moment)
    first, past = found
    if first is not None and past is not None and first >= past:
        return wrong(f"from: {since} is not before to, {until}, which is exclusive; give an earlier one")
    return first, past


def number(name: str, text: str) -> str | Refusal:
    """A number as it is stored; "" where nothing is given. In a URL its plus is a space, unless it was escaped."""
    digits = text.translate(_SPACING)
    digits = f"+{digits.removeprefix('00')}" if digits.isdecimal() else digits
    if text and not _NUMBER(digits):
        return wrong(f"{name}: {text[:64]!r} is no number in E.164 format; give one such as +393331234567")
    return digits


def country(name: str, text: str) -> str | Refusal:
    """ISO 3166-1 alpha-2 in capitals, or 001 for numbers of no country; "" where nothing is given."""
    if text and not _COUNTRY(text):
        return wrong(f"{name}: {text[:64]!r} is no country; give two letters of ISO 3166-1, such as IT")
    return text.upper()
