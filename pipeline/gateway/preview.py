"""What can be told of a request at the door by pure functions: wrong at once, or which parts it will make."""

import msgspec

from pipeline.numbers import Recipient, check_sender, classify
from pipeline.text import Encoded, Template, as_sent, encode
from schemas import errors, intake
from schemas.errors import Error


class Preview(msgspec.Struct, frozen=True):
    """None where it differs by recipient. `text`: as it will be sent."""

    recipient: Recipient | None
    text: str | None
    encoded: Encoded | None


def preview(request: intake.Request, max_parts: int) -> Preview | Error:
    """The request as the stages will see it, or the first error that would end it for every recipient.

    A bad number among several is left to the validate stage: it never spoils the others.
    """
    if request.options.send_at is not None:
        message = "options.sendAt: scheduled sending is not offered yet; leave it out"
        return Error(errors.UNSUPPORTED_OPTION, message)
    if wrong := check_sender(request.sender or intake.DEFAULT_SENDER):
        return wrong
    only = request.recipients[0] if len(request.recipients) == 1 else None
    recipient = None if only is None else classify(only if isinstance(only, str) else only.number)
    if isinstance(recipient, Error):
        return recipient
    template = Template.parse(request.message)
    if template.fields and only is None:
        return Preview(None, None, None)
    fields = {name: str(value) for name, value in only.fields.items()} if isinstance(only, intake.Recipient) else {}
    text = template.render(fields)
    if isinstance(text, Error):
        return text
    text = as_sent(text, transliterated=request.options.transliterate)
    encoded = encode(text, max_parts=max_parts)
    if isinstance(encoded, Error):
        return encoded
    if request.options.fail_on_multiple_messages and encoded.count > 1:
        message = f"ALERT: the text needs {encoded.count} parts and options.failOnMultipleMessages is set; shorten it"
        return Error(errors.MULTIPLE_PARTS, message)
    return Preview(recipient, text, encoded)
