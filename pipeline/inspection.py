"""What would become of a text: which alphabet, how many parts, what octets, what price. Nothing is sent.

The same functions as in the stages, in the same order; no Kafka, no account.
"""

from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.billing import PriceList, format_price
from pipeline.moderation import TermList
from pipeline.numbers import Recipient, check_sender, classify
from pipeline.text import Encoded, Template, as_sent, encode, non_gsm
from schemas import errors
from schemas.errors import Error


class Inquiry(BaseModel):
    """A text and, where given, from whom and to whom. `fields`: values for the template, as a recipient has them."""

    model_config = ConfigDict(extra="forbid", strict=True)

    message: str
    sender: str | None = None
    recipient: str | None = None
    fields: dict[str, str | int | float] | None = None
    transliterate: bool = False


class Inspector:
    """Answers inquiries by one configuration's price list, prohibited terms, currency and limit of parts."""

    def __init__(self, prices: PriceList, terms: TermList, currency: str, max_parts: int) -> None:
        self._prices = prices
        self._terms = terms
        self._currency = currency
        self._max_parts = max_parts

    def answer(self, line: bytes) -> bytes:
        """One JSON object for one; `{"error": …}` where the line holds no inquiry."""
        try:
            found = self.inspect(Inquiry.model_validate(orjson.loads(line)))
        except orjson.JSONDecodeError as error:
            found = {"error": _told(Error(errors.MALFORMED_REQUEST, f"not JSON in UTF-8: {error}"))}
        except ValidationError as error:
            found = {"error": _told(Error(errors.MALFORMED_REQUEST, _named(error)))}
        return orjson.dumps(found)

    def inspect(self, inquiry: Inquiry) -> dict[str, Any]:
        """The answer as the contract writes it (contracts: `inspect --json`).

        Indices count code points of the text as sent: filled in, in NFC, transliterated where asked for. `error` is
        there only where the text cannot be sent; `sender` and `recipient` are null where they were not given.
        """
        text, encoded = self._encode(inquiry)
        recipient = None if inquiry.recipient is None else classify(inquiry.recipient)
        price = self._price(recipient)
        found: dict[str, Any] = {
            "encoding": None,
            "charactersCount": None,
            "messageCount": None,
            "parts": [],
            "nonGsmCharacters": [{"character": c, "index": index} for c, index in non_gsm(text)],
            "prohibited": [{"term": h.term, "start": h.start, "end": h.end} for h in self._terms.find(text)],
            "sender": None if inquiry.sender is None else self._sender(inquiry.sender),
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
            "messageCount": len(encoded.parts),
            "parts": [{"udh": part.udh.hex(), "payload": part.payload.hex()} for part in encoded.parts],
            "totalPrice": None if price is None else format_price(price * len(encoded.parts)),
        }

    def _encode(self, inquiry: Inquiry) -> tuple[str, Encoded | Error]:
        """The text as sent, and its parts; the text as far as it was made, and what is wrong with it."""
        values = {name: str(value) for name, value in (inquiry.fields or {}).items()}
        rendered = Template.parse(inquiry.message).render(values)
        text = as_sent(
            inquiry.message if isinstance(rendered, Error) else rendered, transliterated=inquiry.transliterate
        )
        return text, rendered if isinstance(rendered, Error) else encode(text, max_parts=self._max_parts)

    def _sender(self, sender: str) -> dict[str, Any]:
        error = check_sender(sender)
        if error is None and (hit := next(iter(self._terms.find(sender)), None)):
            error = Error(errors.PROHIBITED, f"the sender holds the prohibited term {hit.term!r}")
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


def _told(error: Error | None) -> dict[str, Any] | None:
    if error is None:
        return None
    return {"code": error.code, "message": error.message, "permanent": error.permanent}


def _named(found: ValidationError) -> str:
    """Every wrong field by name, once."""
    faults: dict[str, str] = {}
    for fault in found.errors(include_url=False, include_input=False, include_context=False):
        place = fault["loc"]
        text = "unknown field" if fault["type"] == "extra_forbidden" else fault["msg"]
        if place[:1] == ("fields",) and len(place) > 1:
            place, text = place[:2], "a text or a number is wanted"
        faults.setdefault(".".join(map(str, place)) or "inquiry", text)
    return "; ".join(f"{name}: {text}" for name, text in faults.items())
