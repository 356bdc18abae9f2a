"""Drafts: requests that are kept and not sent yet. A record each on a compacted topic, known whole to each gateway."""

import msgspec
import structlog

from pipeline.config import Settings
from pipeline.streaming.follow import Directory
from pipeline.streaming.topics import TopicNames

log = structlog.get_logger()

#: An account's drafts, and the bytes of each and of all of them: they are in every gateway's memory.
MAX_DRAFTS = 1_000
MAX_DRAFT_BYTES = 256 * 1024
MAX_BYTES = 16 * 1024 * 1024


class Draft(msgspec.Struct, rename="camel", frozen=True):
    """One draft. `request`: the body of a POST of messages. Times: RFC 3339 UTC; `sent_at`: None before."""

    account: str
    id: str
    request: msgspec.Raw
    created_at: str
    updated_at: str
    sent_at: str | None = None

    @property
    def request_id(self) -> str:
        """Under which it is sent, however often that is asked for."""
        return f"draft-{self.id}"

    @property
    def key(self) -> bytes:
        """Its key on the topic; a tombstone there deletes it. No account's name holds a slash."""
        return f"{self.account}/{self.id}".encode()

    @property
    def value(self) -> bytes:
        return msgspec.json.encode(self)


_decode = msgspec.json.Decoder(Draft).decode


class Drafts:
    """All of them, by account and id."""

    def __init__(self) -> None:
        self._by_account: dict[str, dict[str, Draft]] = {}

    def get(self, account: str, id_: str) -> Draft | None:
        return self._by_account.get(account, {}).get(id_)

    def of(self, account: str) -> list[Draft]:
        """The account's drafts, the newest first."""
        return sorted(
            self._by_account.get(account, {}).values(), key=lambda one: (one.created_at, one.id), reverse=True
        )

    def take(self, key: bytes, value: bytes | None) -> None:
        """A record of the topic; None is a deletion."""
        account, _, id_ = key.decode("utf-8", "replace").rpartition("/")
        try:
            draft = _decode(value) if value else None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            log.error("draft.unreadable", key=key, error=str(error))
            return
        known = self._by_account.setdefault(account, {})
        if draft is None:
            known.pop(id_, None)
        elif (draft.account, draft.id) == (account, id_):
            known[id_] = msgspec.structs.replace(draft, request=draft.request.copy())
        else:
            log.error("draft.unreadable", key=key, error="another's record")
        if not known:
            del self._by_account[account]


class DraftDirectory(Drafts, Directory):
    """Every draft, in memory and up to date. Start it before use."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.follow(settings.kafka, TopicNames(settings.kafka.topic_prefix).drafts)
