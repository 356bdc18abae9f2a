"""What can be told of a request at the door by pure functions: wrong at once, or which parts it will make."""

from collections.abc import Iterable

import msgspec

from pipeline import schedule
from pipeline.carriers.routing import Router
from pipeline.config import Settings
from pipeline.moderation import Hit, Rules
from pipeline.numbers import Recipient, check_sender, classify
from pipeline.prohibited import Lists
from pipeline.stages.moderate import refusal
from pipeline.text import Measured, Template, Wire, as_sent, longest_of, measure, several
from schemas import errors, intake
from schemas.errors import Error

#: Texts and senders whose hits are kept: the same alert or name comes again and again.
_KEPT = 4096


class Wires:
    """What can be sent to numbers by whichever carrier of their route takes it. Without differences it is known once
    and for all."""

    def __init__(self, router: Router, settings: Settings) -> None:
        self._router = router
        self._by_carrier = {name: carrier.wire for name, carrier in settings.carriers.items()}
        prefixes = ["", *(route.prefix for route in settings.routes)]
        every = set(router.wires([f"+{prefix}" for prefix in prefixes], self._by_carrier))
        self._only = every.pop() if len(every) == 1 else None

    def each(self, numbers: list[str]) -> list[Wire]:
        """The wire of each number, in order."""
        return self._router.wires(numbers, self._by_carrier)

    def among(self, numbers: Iterable[str]) -> list[Wire]:
        """The different wires of some numbers."""
        return [self._only] if self._only else list(dict.fromkeys(self.each(list(numbers))))


class Preview(msgspec.Struct, frozen=True):
    """None where it differs by recipient. `text`: as it will be sent."""

    recipient: Recipient | None
    text: str | None
    measured: Measured | None


def preview(request: intake.Request, max_parts: int, wires: Wires) -> Preview | Error:
    """The request as the stages will see it, or the first error that would end it for every recipient.

    A bad number among several is left to the validate stage: it never spoils the others.
    """
    if wrong := check_sender(request.sender or intake.DEFAULT_SENDER):
        return wrong.of("sender")
    only = request.recipients[0] if len(request.recipients) == 1 else None
    recipient = None if only is None else classify(only if isinstance(only, str) else only.number)
    if isinstance(recipient, Error):
        return recipient.of("recipient")
    if recipient and request.options.tariff not in (intake.WORLDWIDE, recipient.country):
        return wrong_country(request.options.tariff)
    template = Template.parse(request.message)
    if excess := template.excess:
        return excess.of("message")
    if template.fields and only is None:
        return Preview(None, None, None)
    fields = {name: str(value) for name, value in only.fields.items()} if isinstance(only, intake.Recipient) else {}
    text = template.render(fields, longest_of(max_parts))
    if isinstance(text, Error):
        return text.of("message")
    text = as_sent(text, transliterated=request.options.transliterate)
    measured = _measured(text, request, max_parts, wires)
    return measured if isinstance(measured, Error) else Preview(recipient, text, measured)


def mistimed(request: intake.Request, seen: Preview, at_ms: int, retention_days: float) -> Error | None:
    """What is wrong with when the request's messages are to be sent; None where nothing is. `at_ms`: its own time."""
    planned = schedule.plan(request.options, at_ms, retention_days)
    if isinstance(planned, Error):
        return planned
    found = planned.quiet_until(seen.recipient) if seen.recipient else 0
    return found if isinstance(found, Error) else None


def wrong_country(tariff: str) -> Error:
    """Error 2013, as the HTTP contract words it."""
    message = f"The recipient number does not belong to the supported country for this endpoint ({tariff})."
    return Error(errors.WRONG_COUNTRY, message)


def _measured(text: str, request: intake.Request, max_parts: int, wires: Wires) -> Measured | Error | None:
    """What the text costs on every recipient's way (None: that differs), or why it can go on none of them."""
    numbers = (one if isinstance(one, str) else one.number for one in request.recipients)
    found: list[Measured | Error] = []
    for wire in wires.among(numbers):
        measured = measure(text, wire=wire, max_parts=max_parts)
        if isinstance(measured, Measured) and measured.count > 1 and request.options.fail_on_multiple_messages:
            found.append(several(text, measured))
        else:
            found.append(measured.of("message") if isinstance(measured, Error) else measured)
    good = [one for one in found if isinstance(one, Measured)]
    if not good:
        return found[0]
    return good[0] if len(found) == 1 else None


class Judge:
    """What the lists find at the door: the same as the moderate stage will, where it holds for every recipient."""

    def __init__(self, lists: Lists) -> None:
        self._lists = lists
        self._rules: Rules | None = None
        self._known: dict[tuple[str, str], list[Hit]] = {}

    def prohibited(self, request: intake.Request, seen: Preview) -> Error | None:
        """Why none of the request's messages may go; None where there is no reason, or it differs by recipient."""
        country = seen.recipient.country if seen.recipient else None
        options = request.options
        for field, text in (("sender", request.sender or intake.DEFAULT_SENDER), ("message", seen.text)):
            for hit in self.blocks(text or "", request.account):
                if not hit.countries or country in hit.countries:
                    return refusal(field, hit, options.tariff, options.dry_run)
        return None

    def blocks(self, text: str, account: str) -> list[Hit]:
        """Everything prohibited in a text, in some country at least."""
        if self._rules is not self._lists.rules:
            self._rules = self._lists.rules
            self._known.clear()
        key = account, text
        found = self._known.get(key)
        if found is None:
            found = [hit for hit in self._rules.find(text, account) if hit.severity == "block"]
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[key] = found
        return found
