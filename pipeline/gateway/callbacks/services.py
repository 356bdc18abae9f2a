"""What the routes of callbacks work with: the endpoints, and the log of deliveries. Messages are taken without."""

import asyncio
import contextlib
from collections.abc import Sequence

from aiokafka.errors import KafkaError
from pydantic import HttpUrl

from pipeline.callbacks.addresses import Policy
from pipeline.callbacks.deliveries import Log
from pipeline.callbacks.endpoints import EndpointDirectory
from pipeline.config import Settings
from pipeline.gateway.problems import Refusal, unavailable
from pipeline.gateway.publisher import Outgoing, Publisher
from schemas import errors
from schemas.errors import Error

#: A change that is durable is looked for this long.
_REFRESH_SECONDS = 5.0


class CallbackServices:
    """One of these a gateway."""

    def __init__(self, settings: Settings, publisher: Publisher) -> None:
        self.endpoints = EndpointDirectory(settings)
        self.log = Log(settings)
        self._config = settings.callbacks
        self._policy = Policy(settings.callbacks.allow)
        self._publisher = publisher
        self._reading: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to come up."""
        self._reading = asyncio.create_task(self.endpoints.start(), name="gateway endpoints")

    async def stop(self) -> None:
        if self._reading:
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reading
        await self.endpoints.stop()
        await self.log.close()

    async def refresh(self) -> Refusal | None:
        """See every change of the endpoints that was acknowledged before this call."""
        if not (self._reading and self._reading.done()):
            return unavailable("the callback endpoints are not read yet; try again")
        try:
            async with asyncio.timeout(_REFRESH_SECONDS):
                await self.endpoints.refresh()
        except (TimeoutError, KafkaError):
            return unavailable("the callback endpoints cannot be read; try again, a repeat changes nothing")
        return None

    async def change(self, records: Sequence[Outgoing]) -> Refusal | None:
        """Make records of endpoints durable and see them."""
        if failed := await self._publisher.publish(records):
            return unavailable(failed.message)
        return await self.refresh()

    def fault(self, field: str, url: HttpUrl) -> Error | None:
        """Why a URL will not be called, as far as that can be told without asking for its host's addresses."""
        if self._config.https_only and url.scheme != "https":
            return Error(errors.URL_NOT_CALLABLE, f"{field}: only https is called")
        if not self._policy.permits_host(url.host or ""):
            return Error(
                errors.URL_NOT_CALLABLE, f"{field}: {url.host} is neither on the public Internet nor in callbacks.allow"
            )
        return None
