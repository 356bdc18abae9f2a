"""What the routes work with: Kafka, accounts, opt-outs, lists, prices, money, read model. Each comes up by itself,
whatever the others do."""

import asyncio
import contextlib

import structlog
from fastapi import Request
from sqlalchemy.exc import SQLAlchemyError
from standardwebhooks import Webhook
from standardwebhooks.webhooks import EmptyWebhookSecretError

from pipeline.accounts import AccountDirectory
from pipeline.balances import BalanceDirectory
from pipeline.billing import parse_amount
from pipeline.carriers.routing import Router
from pipeline.config import ConfigError, HttpCarrier, Settings
from pipeline.drafts import DraftDirectory
from pipeline.gateway.batches.uploads import Uploads
from pipeline.gateway.callbacks.services import CallbackServices
from pipeline.gateway.door.guard import Guard
from pipeline.gateway.messages.fresh import Fresh
from pipeline.gateway.messages.idempotency import Recent
from pipeline.gateway.messages.preview import Judge, Wires
from pipeline.gateway.otp.register import OtpDirectory
from pipeline.gateway.publisher import Publisher
from pipeline.optouts import OptOutDirectory
from pipeline.prices import PriceDirectory
from pipeline.prohibited import WatchedLists
from pipeline.store.database import open_database
from pipeline.store.queries import ReadModel
from pipeline.streaming.follow import Directory
from pipeline.streaming.topics import TopicNames
from schemas.errors import Error

log = structlog.get_logger()

_RETRY_SECONDS = 1.0


class Services:
    """One of these a gateway. `read_model` is None until the database is open.

    `webhooks` checks the signatures of each HTTP carrier; None where it has no secret. Raises ConfigError for one that
    is no secret, and for a faulty price list, list of prohibited content or minimum.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.names = TopicNames(settings.kafka.topic_prefix)
        self.publisher = Publisher(settings.kafka)
        self.guard = Guard(settings.gateway)
        self.accounts = AccountDirectory(settings)
        self.opt_outs = OptOutDirectory(settings)
        self.prices = PriceDirectory(settings)
        self.lists = WatchedLists(settings)
        self.balances = BalanceDirectory(settings)
        self.otps = OtpDirectory(settings)
        self.drafts = DraftDirectory(settings)
        self._following: dict[str, Directory | WatchedLists] = {
            "accounts": self.accounts,
            "optOuts": self.opt_outs,
            "prices": self.prices,
            "lists": self.lists,
            "balances": self.balances,
            "otps": self.otps,
            "drafts": self.drafts,
        }
        self.recent = Recent()
        self.fresh = Fresh()
        self.router = Router(settings.routes, list(settings.http_carriers))
        self.wires = Wires(self.router, settings)
        self.judge = Judge(self.lists)
        self.minimum = _minimum(settings)
        self.callbacks = CallbackServices(settings, self.publisher)
        self.webhooks = {name: _webhook(name, carrier) for name, carrier in settings.http_carriers.items()}
        self.uploads = Uploads(settings)
        self.read_model: ReadModel | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self) -> None:
        """Begin to come up; `missing` tells how far it is."""
        self.publisher.start()
        self.uploads.start()
        self.callbacks.start()
        begun = {name: follower.start() for name, follower in self._following.items()}
        begun["readModel"] = self._open_read_model()
        self._tasks = {name: asyncio.create_task(task, name=f"gateway {name}") for name, task in begun.items()}

    async def stop(self) -> None:
        """Let go of everything, the last acquired first."""
        for task in self._tasks.values():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        if self.read_model:
            self.read_model.close()
        await self.uploads.stop()
        await self.callbacks.stop()
        for follower in reversed(self._following.values()):
            await follower.stop()
        await self.publisher.stop()

    @property
    def missing(self) -> list[str]:
        """What is not there yet; empty when requests can be served."""
        needed = ("accounts", "readModel", "optOuts")
        return [*([] if self.publisher.connected else ["kafka"]), *self.unread(*needed)]

    def unread(self, *names: str) -> list[str]:
        """Which of these are not read yet. Messages are taken without knowing lists, prices or balances."""
        return [name for name in names if not self._tasks[name].done()]

    @property
    def prices_known(self) -> bool:
        """Whether the prices can be told."""
        return self._tasks["prices"].done()

    @property
    def lists_known(self) -> bool:
        """Whether content can be judged."""
        return self._tasks["lists"].done()

    @property
    def drafts_known(self) -> bool:
        """Whether the drafts can be told."""
        return self._tasks["drafts"].done()

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


def _minimum(settings: Settings) -> int:
    found = parse_amount(settings.billing.minimum)
    if isinstance(found, Error):
        raise ConfigError(f"billing.minimum: {found.message}")
    return found


def services(request: Request) -> Services:
    """The services of the gateway that serves this request."""
    found: Services = request.app.state.services
    return found
