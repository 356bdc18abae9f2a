"""Receipts on their way from a carrier to the track stage: what `sms.receipts` and `sms.references` hold of them."""

import msgspec


class Receipt(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What a carrier says became of a message. `id`: its own name for it; `reference`: ours, where it gives it back.

    `status`: the carrier's word (SMPP 3.4 appendix B: DELIVRD …), `error`: its code, `done_at`: its time, all unjudged.
    """

    id: str
    reference: str | None
    status: str
    error: str | None
    done_at: str | None


class ReceiptBatch(msgspec.Struct, array_like=True, tag="receipts"):
    """Receipts of one carrier that share a topic and partition, as one record. `received_at_ms`: Unix milliseconds."""

    carrier: str
    received_at_ms: int
    receipts: list[Receipt]


_encoder = msgspec.msgpack.Encoder()

#: The bytes of one record, and back.
encode = _encoder.encode
decode = msgspec.msgpack.Decoder(ReceiptBatch).decode
