"""What would become of a text: which alphabet, how many parts, what octets, what price. Nothing is sent.

The same functions as in the stages, in the same order; no Kafka, no account.
"""

from collections.abc import Callable
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.billing import PriceList, format_price
from pipeline.moderation import Hit, Rules
from pipeline.numbers import Recipient, check_sender, classify
from pipeline.text import (
    LANGUAGES,
    Choice,
    Encoded,
    Template,
    Wire,
    encode,
    explain,
    longest_of,
    non_gsm,
    normalise,
    transliterate,
)
from schemas import errors, surrogates
from schemas.errors import Error
from schemas.faults import words

_NAMES = {number: name for name, number in LANGUAGES.items()}


class Inquiry(BaseModel):
    """A text and, where given, from whom and to whom. `fields`: values for the template, as a recipient has them.
    `account`: whose own lists of prohibited terms are looked at beside everybody's."""

    model_config = ConfigDict(extra="forbid", strict=True)

    message: str
    sender: str | None = None
    recipient: str | None = None
    fields: dict[str, str | int | float] | None = None
    transliterate: bool = False
    account: str | None = None


class Inspector:
    """Answers inquiries by one configuration: its price list, what is prohibited, currency, limit of parts, and what
    the carriers of a route can carry (`wire`: of a number; None asks for what all carriers can)."""

    def __init__(
        self, prices: PriceList, rules: Rules, currency: str, max_parts: int, wire: Callable[[str | None], Wire]
    ) -> None:
        self._prices = prices
        self._rules = rules
        self._currency = currency
        self._max_parts = max_parts
        self._wire = wire

    def answer(self, line: bytes) -> bytes:
        """One JSON object for one; `{"error": …}` where the line holds no inquiry."""
        try:
            found = self.inspect(Inquiry.model_validate(orjson.loads(line)))
        except orjson.JSONDecodeError as error:
            found = {"error": _told(_unreadable(line, error))}
        except ValidationError as error:
            found = {"error": _told(Error(errors.MALFORMED_REQUEST, _named(error)))}
        return orjson.dumps(found)

    def inspect(self, inquiry: Inquiry) -> dict[str, Any]:
        """The answer as the contract writes it (contracts: `inspect --json`).

        Indices count code points of the text as sent: filled in, in NFC, transliterated where asked for; those of
        `transliterated` of the text before that. `error` is there only where the text cannot be sent; `sender` and
        `recipient` are null where they were not given. `prohibited`: what blocks the message; `findings`: all that the
        lists find in the text, with how it was disguised. `choice`: every encoding considered, and why this one.
        """
        recipient = None if inquiry.recipient is None else classify(inquiry.recipient)
        wire = self._wire(recipient.number if isinstance(recipient, Recipient) else None)
        text, replaced, encoded = self._encode(inquiry, wire)
        price = self._price(recipient)
        country = recipient.country if isinstance(recipient, Recipient) else None
        hits = self._hits(text, inquiry, country)
        found: dict[str, Any] = {
            "encoding": None,
            "charactersCount": None,
            "messageCount": None,
            "parts": [],
            "nonGsmCharacters": [{"character": c, "index": index} for c, index in non_gsm(text)],
            "transliterated": [{"index": i, "character": c, "replacement": put} for i, c, put in replaced],
            "prohibited": [{"term": h.term, "start": h.start, "end": h.end} for h in hits if h.severity == "block"],
            "findings": [_hit(hit) for hit in hits],
            "sender": None if inquiry.sender is None else self._sender(inquiry, country),
            "recipient": None if recipient is None else _recipient(recipient, price),
            "price": None if price is None else format_price(price),
            "totalPrice": None,
            "currency": self._currency,
        }
        if isinstance(encoded, Error):
            return found | {"error": _told(encoded)}
        return found | {
            "encoding": encoded.encoding,
            "charactersCount": encoded.characters,
            "messageCount": encoded.count,
            "parts": [{"udh": part.udh.hex(), "payload": part.payload.hex()} for part in encoded.parts],
            "totalPrice": None if price is None else format_price(price * encoded.count),
            "choice": _choice(explain(text, wire=wire, max_parts=self._max_parts)),
        }

    def _encode(self, inquiry: Inquiry, wire: Wire) -> tuple[str, list[tuple[int, str, str]], Encoded | Error]:
        """The text as sent, what was replaced in it, and its parts; or what is wrong with it, as far as it was made."""
        values = {name: str(value) for name, value in (inquiry.fields or {}).items()}
        rendered = Template.parse(inquiry.message).render(values, longest_of(self._max_parts))
        text = normalise(inquiry.message if isinstance(rendered, Error) else rendered)
        text, replaced = transliterate(text) if inquiry.transliterate else (text, [])
        if isinstance(rendered, Error):
            return text, replaced, rendered
        return text, replaced, encode(text, wire=wire, max_parts=self._max_parts)

    def _hits(self, text: str, inquiry: Inquiry, country: str | None) -> list[Hit]:
        """What is prohibited in the country, or in any where there is none, for the account or anybody."""
        hits = self._rules.find(text, inquiry.account or "")
        return [hit for hit in hits if country is None or not hit.countries or country in hit.countries]

    def _sender(self, inquiry: Inquiry, country: str | None) -> dict[str, Any]:
        sender = inquiry.sender or ""
        error = check_sender(sender)
        blocks = [hit for hit in self._hits(sender, inquiry, country) if hit.severity == "block"]
        if error is None and blocks:
            error = Error(errors.PROHIBITED, f"the sender holds the prohibited {blocks[0].kind} {blocks[0].term!r}")
        return {"valid": error is None, "error": _told(error)}

    def _price(self, recipient: Recipient | Error | None) -> int | None:
        """Micro-units a part."""
        if not isinstance(recipient, Recipient):
            return None
        return self._prices.price(recipient.country, recipient.operator, recipient.number)


def _recipient(found: Recipient | Error, price: int | None) -> dict[str, Any]:
    """A number that can be sent to may still have no price: it is valid, and the error says so."""
    error = found if isinstance(found, Error) else None
    if isinstance(found, Recipient) and price is None:
        error = Error(errors.NO_PRICE, f"no price for {found.country}")
    known = found if isinstance(found, Recipient) else None
    return {
        "valid": known is not None,
        "countryCode": known.country if known else None,
        "internationalPrefix": known.prefix if known else None,
        "operator": (known.operator or None) if known else None,
        "type": known.type if known else None,
        "error": _told(error),
    }


def _hit(hit: Hit) -> dict[str, Any]:
    return {
        "term": hit.term,
        "start": hit.start,
        "end": hit.end,
        "severity": hit.severity,
        "kind": hit.kind,
        "folding": hit.folding,
    }


def _choice(choice: Choice) -> dict[str, Any]:
    return {
        "reason": choice.reason,
        "considered": [
            {
                "encoding": option.encoding,
                "locking": _NAMES.get(option.locking),
                "single": _NAMES.get(option.single),
                "charactersCount": option.characters,
                "messageCount": option.count,
                "chosen": place == choice.chosen,
                "outside": [{"character": character, "index": index} for character, index in option.faults],
            }
            for place, option in enumerate(choice.options)
        ],
    }


def _unreadable(line: bytes, error: orjson.JSONDecodeError) -> Error:
    mended = surrogates.loads(line)
    if mended and mended[1]:
        path, half = next(iter(mended[1].items()))
        named = ".".join(map(str, path)).encode("utf-8", "replace").decode()
        return Error(errors.INVALID_TEXT, f"{named}: {half} is half a character and cannot be sent: remove it")
    return Error(errors.MALFORMED_REQUEST, f"not JSON in UTF-8: {error}")


def _told(error: Error | None) -> dict[str, Any] | None:
    if error is None:
        return None
    return {"code": error.code, "message": error.message, "permanent": error.permanent}


def _named(found: ValidationError) -> str:
    """Every wrong field by name, once."""
    faults: dict[str, str] = {}
    for fault in found.errors(include_url=False, include_input=False):
        place = fault["loc"]
        text = words(fault)
        if place[:1] == ("fields",) and len(place) > 1:
            place, text = place[:2], "a text or a number is wanted"
        faults.setdefault(".".join(map(str, place)) or "inquiry", text)
    return "; ".join(f"{name}: {text}" for name, text in faults.items())
