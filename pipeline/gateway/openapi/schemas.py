"""The schemas of bodies and answers, derived from the models that the gateway reads and writes by."""

from typing import Any

import msgspec
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from pipeline.callbacks.body import CallbackMessage
from pipeline.gateway.account.opt_outs import OptOuts
from pipeline.gateway.account.tokens import NewToken
from pipeline.gateway.batches.upload_request import UploadRequest
from pipeline.gateway.callbacks.deliveries import ReplayBody
from pipeline.gateway.callbacks.endpoints import EndpointBody, RotationBody
from pipeline.gateway.messages.cancel import CancelRequest
from pipeline.gateway.messages.drafts import DraftResponse
from pipeline.gateway.messages.estimate import Estimate
from pipeline.gateway.openapi import answers, glossary
from pipeline.gateway.otp.routes import OtpRequest, VerifyRequest
from pipeline.gateway.receipts import Receipts
from pipeline.gateway.views import MessageResponse
from schemas import intake

_REF = "#/components/schemas/{}"
#: Bodies, by their public names.
_BODIES: dict[str, type[BaseModel]] = {
    "SendMessageRequest": intake.Request,
    "UploadRequest": UploadRequest,
    "OtpRequest": OtpRequest,
    "VerifyRequest": VerifyRequest,
    "CancelRequest": CancelRequest,
    "OptOutRequest": OptOuts,
    "EndpointRequest": EndpointBody,
    "RotationRequest": RotationBody,
    "ReplayRequest": ReplayBody,
    "TokenRequest": NewToken,
}
_ANSWERS = [
    MessageResponse, DraftResponse, Estimate, CallbackMessage,
    *(one for one in vars(answers).values() if isinstance(one, type) and one.__module__ == answers.__name__),
]  # fmt: skip
#: What only the topics' records have, or is written by the paths.
_NOT_OVER_HTTP = ("account",)


def schemas() -> dict[str, Any]:
    """Every schema, by name, with what the glossary says of its fields."""
    found = _read() | _written() | glossary.SCHEMAS
    return {name: _told(name, schema) for name, schema in sorted(found.items())}


def _read() -> dict[str, Any]:
    """What is taken: unknown fields are refused."""
    _, made = models_json_schema(
        [(model, "validation") for model in _BODIES.values()], ref_template=_REF.format("{model}")
    )
    names = {model.__name__: name for name, model in _BODIES.items()}
    found = {names.get(name, name): schema for name, schema in made["$defs"].items()}
    for name in ("SendMessageRequest", "UploadRequest"):
        given = found[name]
        for field in _NOT_OVER_HTTP + (("recipients",) if name == "UploadRequest" else ()):
            del given["properties"][field]
            given["required"].remove(field)
    send = found["SendMessageRequest"]
    send["required"].remove("recipients")
    send["properties"]["recipient"] = {}
    send["oneOf"] = [{"required": [name]} for name in ("recipient", "recipients")]
    _, receipts = msgspec.json.schema_components([Receipts], ref_template=_REF.format("{name}"))
    return found | {"ReceiptsRequest" if name == "Receipts" else name: one for name, one in receipts.items()}


def _written() -> dict[str, Any]:
    """What is answered: every field is there but those that may be unset. Later versions may tell more."""
    _, made = msgspec.json.schema_components(_ANSWERS, ref_template=_REF.format("{name}"))
    types = {one.__name__: one for one in _ANSWERS}
    for name, schema in made.items():
        if name in types:
            schema["required"] = [
                field.encode_name for field in msgspec.structs.fields(types[name]) if not _may_lack(field)
            ]
        for one in schema["properties"].values():
            one.pop("default", None)
    return made


def _may_lack(field: msgspec.structs.FieldInfo) -> bool:
    return field.type is msgspec.UnsetType or msgspec.UnsetType in getattr(field.type, "__args__", ())


def _told(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with the glossary's words, without titles that only repeat the names."""
    told = {key: value for key, value in schema.items() if key != "title"}
    told["description"] = glossary.TEXTS[name]
    if properties := schema.get("properties"):
        told["properties"] = {field: glossary.told(field, one, name) for field, one in properties.items()}
    return told
