"""What the routes work with: Kafka, accounts, opt-outs, prices, read model. Each comes up by itself, whatever the
others do."""

import asyncio
import contextlib

import structlog
from fastapi import Request
from sqlalchemy.exc import SQLAlchemyError
from standardwebhooks import Webhook
from standardwebhooks.webhooks import EmptyWebhookSecretError

from pipeline.accounts import AccountDirectory
from pipeline.config import ConfigError, HttpCarrier, Settings
from pipeline.gateway.publisher import Publisher
from pipeline.gateway.uploads import Uploads
from pipeline.optouts import OptOutDirectory
from pipeline.prices import PriceDirectory
from pipeline.store.database import open_database
from pipeline.store.queries import ReadModel
from pipeline.streaming.topics import TopicNames

log = structlog.get_logger()

_RETRY_SECONDS = 1.0


class Services:
    """One of these a gateway. `read_model` is None until the database is open.

    `webhooks` checks the signatures of each HTTP carrier; None where it has no secret. Raises ConfigError for one that
    is no secret, and for a faulty price list.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.names = TopicNames(settings.kafka.topic_prefix)
        self.publisher = Publisher(settings.kafka)
        self.accounts = AccountDirectory(settings)
        self.opt_outs = OptOutDirectory(settings)
        self.prices = PriceDirectory(settings)
        self.webhooks = {name: _webhook(name, carrier) for name, carrier in settings.http_carriers.items()}
        self.uploads = Uploads(settings)
        self.read_model: ReadModel | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to come up; `missing` tells how far it is."""
        self.publisher.start()
        self.uploads.start()
        self._tasks = [
            asyncio.create_task(self.accounts.start(), name="gateway accounts"),
            asyncio.create_task(self._open_read_model(), name="gateway read model"),
            asyncio.create_task(self.opt_outs.start(), name="gateway opt-outs"),
            asyncio.create_task(self.prices.start(), name="gateway prices"),
        ]

    async def stop(self) -> None:
        """Let go of everything, the last acquired first."""
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        if self.read_model:
            self.read_model.close()
        await self.prices.stop()
        await self.opt_outs.stop()
        await self.accounts.stop()
        await self.uploads.stop()
        await self.publisher.stop()

    @property
    def missing(self) -> list[str]:
        """What is not there yet; empty when requests can be served."""
        accounts, read_model, opt_outs, _ = (task.done() for task in self._tasks)
        up = {
            "kafka": self.publisher.connected, "accounts": accounts, "readModel": read_model, "optOuts": opt_outs
        }  # fmt: skip
        return [name for name, there in up.items() if not there]

    @property
    def prices_known(self) -> bool:
        """Whether the prices can be told. Messages are taken without."""
        return self._tasks[-1].done()

    async def _open_read_model(self) -> None:
        while True:
            try:
                self.read_model = ReadModel(await asyncio.to_thread(open_database, self.settings))
                return
            except SQLAlchemyError as error:
                log.warning("gateway.read_model_waiting", error=str(error))
                await asyncio.sleep(_RETRY_SECONDS)


def _webhook(name: str, carrier: HttpCarrier) -> Webhook | None:
    if carrier.secret is None:
        return None
    try:
        return Webhook(carrier.secret.get_secret_value())
    except (ValueError, EmptyWebhookSecretError):
        raise ConfigError(f"carriers.{name}.secret: not a secret of Standard Webhooks (whsec_ and base64)") from None


def services(request: Request) -> Services:
    """The services of the gateway that serves this request."""
    found: Services = request.app.state.services
    return found
