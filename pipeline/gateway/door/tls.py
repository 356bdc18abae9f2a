"""TLS of the gateway, where it is not left to a proxy."""

import asyncio
import ssl
from typing import Any

import uvloop

from pipeline.config import ConfigError
from pipeline.config_gateway import Gateway

_HANDSHAKE_SECONDS = 10.0


def context(settings: Gateway) -> ssl.SSLContext | None:
    """TLS 1.2 and later with the configured certificate; None where there is none. Raises ConfigError naming the file
    that cannot be used."""
    if not settings.tls_certfile:
        return None
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_alpn_protocols(["http/1.1"])
    try:
        made.load_cert_chain(settings.tls_certfile, settings.tls_keyfile, password=_no_password)
    except (OSError, ssl.SSLError) as error:
        files = f"gateway.tls_certfile {settings.tls_certfile}, gateway.tls_keyfile {settings.tls_keyfile}"
        raise ConfigError(f"{files}: {error.strerror or error}; they must be a PEM certificate and its key") from None
    return made


def _no_password() -> str:
    """Instead of asking whoever is at the terminal."""
    return ""


class HastyLoop(uvloop.Loop):
    """An event loop whose servers give a TLS handshake less than the usual minute: until it is done a connection is
    not one of ours, and nobody else ends it."""

    def create_server(self, *arguments: Any, **named: Any) -> Any:
        return super().create_server(*arguments, ssl_handshake_timeout=_HANDSHAKE_SECONDS, **named)


def loop() -> asyncio.AbstractEventLoop:
    """The event loop of a gateway that speaks TLS."""
    made: asyncio.AbstractEventLoop = HastyLoop()
    return made
