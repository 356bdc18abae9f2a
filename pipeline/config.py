"""Settings: `sms-pipeline.toml`, each key also from the environment (`SMS_GATEWAY__PORT=…` wins).

One frozen object, read once at a process's start and handed down; nothing below reads files or the environment.
"""

import os
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from pipeline.billing import Rule, parse_amount
from pipeline.config_gateway import Gateway, Logging, Otp, Uploads
from pipeline.text import LANGUAGES, Wire
from schemas.errors import Error

DEFAULT_FILE = Path("sms-pipeline.toml")
EMBEDDED = "embedded"


class ConfigError(Exception):
    """The configuration cannot be used; the message names the key and what to do."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Kafka(_Section):
    """Which cluster, and how its topics are cut. SASL and TLS settings are passed to every client as they are."""

    bootstrap_servers: str = EMBEDDED
    partitions: int = Field(default=8, ge=1, le=1024)
    replication: int = Field(default=1, ge=1)
    topic_prefix: str = "sms."
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    ssl_cafile: Path | None = None
    ssl_certfile: Path | None = None
    ssl_keyfile: Path | None = None


class Storage(_Section):
    """`directory`: broker data, tables, read model. `retention_days`: how long repeats and late receipts are
    known, at least the longest validity of a message (48 hours) and half a day. The rest is how far ahead a message may
    be scheduled. `read_model_days`: how long messages can be asked for; longer than the status topic keeps them, so
    that reading it again brings back none that was removed.
    """

    directory: Path = Path(".sms-pipeline")
    database: str = "sqlite"
    retention_days: float = Field(default=10.0, ge=2.5)
    read_model_days: float = Field(default=90.0, ge=8, le=36_500)

    @property
    def status_days(self) -> float:
        """How long the status topic keeps what it was told."""
        return max(7.0, self.retention_days)

    @model_validator(mode="after")
    def _read_model_outlives_the_status_topic(self) -> Self:
        if self.read_model_days < self.status_days + 1:
            least = f"{self.status_days + 1:g}"
            raise ValueError(f"read_model_days: at least {least}, a day more than the status topic keeps messages")
        return self


class Privacy(_Section):
    """Days after which the read model forgets a message's text and custom data, and its recipient's number; 0: with the
    message itself. (The topics keep them for 7 days.)
    """

    erase_text_days: float = Field(default=0.0, ge=0, le=36_500)
    erase_numbers_days: float = Field(default=0.0, ge=0, le=36_500)


class Moderation(_Section):
    """Prohibited content (docs/moderation.md). `terms`: files of prohibited terms, a term a line. The others: files of
    domains, a domain a line. `links`: "allowed" lets only the allowed domains stand in a text.
    """

    terms: list[Path] = []
    blocked_domains: list[Path] = []
    allowed_domains: list[Path] = []
    protected_domains: list[Path] = []
    links: Literal["any", "allowed"] = "any"
    shorteners: Literal["allow", "flag", "block"] = "allow"
    lookalikes: Literal["allow", "flag", "block"] = "block"

    @property
    def files(self) -> list[Path]:
        """Every file named."""
        return [*self.terms, *self.blocked_domains, *self.allowed_domains, *self.protected_domains]


class Billing(_Section):
    """`minimum`: credit asked for per part before a message is accepted. Without `prices` the sample list serves.
    `refund`: ends, told by a carrier that had taken the message, at which its price is given back.
    """

    currency: str = Field(default="EUR", pattern="^[A-Z]{3}$")
    prices: Path | None = None
    minimum: str = "1.00"
    refund: list[Literal["REJECTED", "UNDELIVERABLE", "DELETED", "EXPIRED"]] = ["REJECTED"]


class Pumping(_Section):
    """A range of 10,000 numbers at `price` a part or more ("": none is) that gets, out of nothing, `share` of an
    account's messages in an hour, and `least` of them at least, is held until an operator releases it.
    """

    price: str = "0.10"
    share: float = Field(default=0.25, gt=0, le=1, allow_inf_nan=False)
    least: int = Field(default=100, ge=1)

    @field_validator("price")
    @classmethod
    def _an_amount(cls, price: str) -> str:
        micros = parse_amount(price) if price else 0
        if isinstance(micros, Error):
            raise ValueError(f'{micros.message}; "" switches the guard off')
        if price and micros <= 0:
            raise ValueError(f'"{price}" is not more than nothing; "" switches the guard off')
        return price

    @property
    def rule(self) -> Rule | None:
        """The same for those who judge; None where the guard is off."""
        micros = parse_amount(self.price)
        return None if isinstance(micros, Error) else Rule(micros, self.share, self.least)


class DeadLetters(_Section):
    """A stage that makes dead letters of more than `share` of its last 1,000 records of a topic, and of `least` at
    least, reads no more of it.
    """

    share: float = Field(default=0.5, ge=0, le=1)
    least: int = Field(default=500, ge=1, le=1000)


class Limits(_Section):
    """What one record and one message may be at most; how long a receipt is waited for after a message's validity."""

    request_bytes: int = Field(default=4 * 1024 * 1024, ge=1024)
    parts: int = Field(default=10, ge=1, le=255)
    receipt_grace_seconds: int = Field(default=60, ge=1)


class Metrics(_Section):
    """Where each process serves `/metrics`; port 0 picks a free one (`up` gives every process its own)."""

    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65535)


class Callbacks(_Section):
    """Webhooks out (docs/callbacks.md). `allow`: networks that may be called beside the public Internet. `connections`:
    calls at a time of one process. `retry_seconds`: the first pause after a failure; `give_up_hours`: how long an
    endpoint is tried for one event, below what the tables keep.
    """

    allow: list[str] = []
    https_only: bool = False
    connections: int = Field(default=128, ge=2, le=4096)
    connections_per_host: int = Field(default=8, ge=1, le=256)
    retry_seconds: float = Field(default=5.0, gt=0, le=3600)
    give_up_hours: float = Field(default=24.0, gt=0, le=48)

    @field_validator("allow")
    @classmethod
    def _networks(cls, allow: list[str]) -> list[str]:
        for network in allow:
            ip_network(network)
        return allow


class _OnAir(_Section):
    """What a carrier can carry. `languages`: national languages (3GPP 23.038, by their English names in lower case)
    whose shift tables it takes; a text uses one only where every carrier of its route does. `concatenation`: how the
    parts of one message are tied together.
    """

    languages: list[str] = []
    concatenation: Literal["8-bit", "16-bit", "sar", "payload"] = "8-bit"

    @field_validator("languages")
    @classmethod
    def _known(cls, languages: list[str]) -> list[str]:
        if unknown := [name for name in languages if name not in LANGUAGES]:
            raise ValueError(f"no shift tables for {', '.join(unknown)}; there are {', '.join(LANGUAGES)}")
        return languages

    @model_validator(mode="after")
    def _shift_tables_need_a_header(self) -> Self:
        if self.languages and self.concatenation in ("sar", "payload"):
            raise ValueError(f'languages need a header, which concatenation = "{self.concatenation}" has not')
        return self

    @property
    def wire(self) -> Wire:
        """The same for the functions that encode."""
        return Wire(tuple(sorted(LANGUAGES[name] for name in set(self.languages))), self.concatenation)


class HttpCarrier(_OnAir):
    """A carrier over HTTP. `throughput` in parts a second; `batch` messages a request, over `connections` at a time.

    `idempotent`: the carrier recognises a repeated Idempotency-Key, so an unknown outcome may be tried again.
    `timeout`: seconds for one request; `patience`: seconds for which a carrier that cannot be reached is tried again
    before a message goes to the next carrier of its route, or fails where there is none. It gets whole texts and cuts
    them itself: `languages` and `concatenation` say how, so that we count as it does.
    """

    type: Literal["http"] = "http"
    concatenation: Literal["8-bit", "16-bit"] = "8-bit"
    url: str
    token: SecretStr | None = None
    secret: SecretStr | None = None
    idempotent: bool = False
    throughput: float = Field(default=100.0, gt=0)
    batch: int = Field(default=100, ge=1, le=1000)
    connections: int = Field(default=8, ge=1, le=64)
    timeout: float = Field(default=10.0, gt=0)
    patience: float = Field(default=30.0, gt=0)


class SmppCarrier(_OnAir):
    """A carrier over SMPP 3.4. Read and checked already; no stage speaks SMPP yet, so routing passes it over."""

    type: Literal["smpp"]
    host: str
    port: int = Field(default=2775, ge=1, le=65535)
    system_id: str
    password: SecretStr
    bind: Literal["transceiver", "transmitter"] = "transceiver"
    sessions: int = Field(default=1, ge=1)
    window: int = Field(default=50, ge=1)
    receipt_id_format: str = "same"
    throughput: float = Field(default=100.0, gt=0)


Carrier = Annotated[HttpCarrier | SmppCarrier, Field(discriminator="type")]


class Route(_Section):
    """`prefix`: digits after the plus, longest wins, "" is everything; `carriers` in order of preference."""

    prefix: str = Field(default="", pattern="^[0-9]*$")
    carriers: list[str] = Field(min_length=1)

    @field_validator("prefix", mode="before")
    @classmethod
    def _without_plus(cls, value: Any) -> Any:
        return value.removeprefix("+") if isinstance(value, str) else value


class Settings(BaseSettings):
    """Everything a process needs to know."""

    model_config = SettingsConfigDict(
        env_prefix="SMS_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    kafka: Kafka = Kafka()
    storage: Storage = Storage()
    privacy: Privacy = Privacy()
    gateway: Gateway = Gateway()
    otp: Otp = Otp()
    uploads: Uploads = Uploads()
    moderation: Moderation = Moderation()
    billing: Billing = Billing()
    pumping: Pumping = Pumping()
    limits: Limits = Limits()
    dead_letters: DeadLetters = DeadLetters()
    metrics: Metrics = Metrics()
    logging: Logging = Logging()
    callbacks: Callbacks = Callbacks()
    carriers: dict[str, Carrier] = {}
    routes: list[Route] = []

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        toml = TomlConfigSettingsSource(settings_cls, _toml_file)
        return (init_settings, env_settings, toml)

    @field_validator("carriers", mode="before")
    @classmethod
    def _http_unless_told(cls, carriers: Any) -> Any:
        if not isinstance(carriers, dict):
            return carriers
        return {name: {"type": "http", **c} if isinstance(c, dict) else c for name, c in carriers.items()}

    @field_validator("carriers")
    @classmethod
    def _carrier_names_fit_topics(cls, carriers: dict[str, Carrier]) -> dict[str, Carrier]:
        for name in carriers:
            if not name.replace("-", "").replace("_", "").isalnum() or not name.isascii():
                raise ValueError(f"carrier name {name!r}: letters, digits, - and _ only (it becomes a topic's name)")
        return carriers

    @property
    def http_carriers(self) -> dict[str, HttpCarrier]:
        """The carriers that messages can be sent through today."""
        return {name: carrier for name, carrier in self.carriers.items() if isinstance(carrier, HttpCarrier)}


_toml_file: Path | None = None


def load(file: Path | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from `file` (default: `sms-pipeline.toml` if it is there) and the environment.

    `environment` adds to the process's own. Relative paths in the file are taken from the file's folder. Raises
    ConfigError with every wrong key named.
    """
    global _toml_file
    if file is not None and not file.is_file():
        raise ConfigError(f"configuration file {file} does not exist; create it or leave out --config")
    path = file or (DEFAULT_FILE if DEFAULT_FILE.is_file() else None)
    _toml_file, before = path, dict(os.environ)
    os.environ.update(environment or {})
    try:
        settings = Settings()
    except ValidationError as error:
        lines = [f"  {'.'.join(map(str, e['loc'])) or 'settings'}: {e['msg']}" for e in error.errors()]
        raise ConfigError("\n".join([f"configuration {path or 'from the environment'}:", *lines])) from None
    except ValueError as error:  # not TOML, or not JSON in the environment
        raise ConfigError(f"configuration {path or 'from the environment'}: {error}") from None
    finally:
        _toml_file = None  # of this reading only: Settings made elsewhere are not to find it
        os.environ.clear()
        os.environ.update(before)
    base = (path.parent if path else Path()).absolute()
    settings = _absolute_paths(settings, base)
    _check_references(settings)
    return settings


_TLS_FILES = ("tls_certfile", "tls_keyfile")


def _absolute_paths(settings: Settings, base: Path) -> Settings:
    storage = settings.storage.model_copy(update={"directory": base / settings.storage.directory})
    lists = ("terms", "blocked_domains", "allowed_domains", "protected_domains")
    named = {name: [base / path for path in getattr(settings.moderation, name)] for name in lists}
    moderation = settings.moderation.model_copy(update=named)
    prices = settings.billing.prices
    billing = settings.billing.model_copy(update={"prices": base / prices if prices else None})
    files = {name: getattr(settings.gateway, name) for name in _TLS_FILES}
    gateway = settings.gateway.model_copy(update={name: base / path if path else None for name, path in files.items()})
    sections = {"storage": storage, "moderation": moderation, "billing": billing, "gateway": gateway}
    return settings.model_copy(update=sections)


def _check_references(settings: Settings) -> None:
    for position, route in enumerate(settings.routes):
        for name in route.carriers:
            if name not in settings.carriers:
                raise ConfigError(f"routes.{position}: carrier {name!r} is not configured; add [carriers.{name}]")
    for key, path in [("billing.prices", settings.billing.prices)] + [
        (f"gateway.{name}", getattr(settings.gateway, name)) for name in _TLS_FILES
    ]:
        if path and not path.is_file():
            raise ConfigError(f"{key}: file {path} does not exist")
