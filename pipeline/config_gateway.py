"""The sections `[gateway]`, `[otp]`, `[uploads]` and `[logging]` of the settings."""

import re
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

_ORIGIN = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+").fullmatch


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Gateway(_Section):
    """Where the gateway listens, and what it bears from its clients (docs/security.md). The requests a second are a
    token's, in each gateway process; the failures are an address's; all else is the process's. A client has
    `client_seconds` for the head of a request, and brings `client_bytes_per_second` of its body in each such time.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    tls_certfile: Path | None = None
    tls_keyfile: Path | None = None
    cors_origins: list[str] = []
    trusted_proxies: list[str] = []
    requests_per_second: float = Field(default=5000.0, gt=0)
    burst_seconds: float = Field(default=2.0, gt=0, le=3600)
    concurrent_requests: int = Field(default=1000, ge=1)
    concurrent_requests_per_token: int = Field(default=500, ge=1)
    failures_per_minute: int = Field(default=120, ge=1)
    connections: int = Field(default=20_000, ge=1)
    client_seconds: float = Field(default=10.0, gt=0)
    client_bytes_per_second: int = Field(default=1024, ge=0)
    body_memory_bytes: int = Field(default=256 * 1024 * 1024, ge=1024)
    access_log: bool = True

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, origins: list[str]) -> list[str]:
        if wrong := [one for one in origins if one != "*" and not _ORIGIN(one)]:
            raise ValueError(f"{', '.join(wrong)}: write an origin as https://app.example, without a path, or *")
        return origins

    @model_validator(mode="after")
    def _certificate_and_key(self) -> Self:
        if bool(self.tls_certfile) != bool(self.tls_keyfile):
            raise ValueError("tls_certfile and tls_keyfile: name both, or neither")
        return self

    @property
    def scheme(self) -> str:
        return "https" if self.tls_certfile else "http"


class Otp(_Section):
    """Login codes. `secret`: what codes are made of; all gateways need the same. Without one it is made once in the
    storage directory. `lifetime_seconds`: how long a code can be verified, at least; `attempts`: tries a code.
    """

    secret: SecretStr | None = Field(default=None, min_length=16)
    lifetime_seconds: int = Field(default=300, ge=60, le=3600)
    attempts: int = Field(default=5, ge=1, le=10)


class Uploads(_Section):
    """What one upload of recipients may be (docs/batches.md). `bytes`: as sent, unpacked, and on disk until it is
    taken, each; `seconds`: for all of it to come; `concurrent`: uploads at a time; `request_recipients`: how many share
    one intake record.
    """

    recipients: int = Field(default=1_000_000, ge=1, le=10_000_000)
    bytes: int = Field(default=256 * 1024 * 1024, ge=1024)
    seconds: float = Field(default=900.0, gt=0)
    concurrent: int = Field(default=4, ge=1)
    request_recipients: int = Field(default=1000, ge=1, le=10_000)


class Logging(_Section):
    """What of a message may stand in logs: of each phone number its first and last digits, of texts their length."""

    mask_numbers: bool = True
    mask_text: bool = True
