"""What this gateway took a moment ago: found by its id while the read model, which follows the pipeline, does not know
of it yet."""

#: Longer than the read model is behind in quiet times, shorter than anything is erased.
_SECONDS = 60.0
#: So many messages, or twice as many: some 30 MB.
_MOST = 20_000


class Fresh:
    """Answers to posts by message id. Times are monotonic seconds, handed in."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._new: dict[str, tuple[float, str, bytes]] = {}
        self._old: dict[str, tuple[float, str, bytes]] = {}

    def put(self, id_: str, account: str, answer: bytes, now: float) -> None:
        """Keep an answer; the oldest give way."""
        if len(self._new) >= self._most:
            self._old, self._new = self._new, {}
        self._new[id_] = now, account, answer

    def get(self, id_: str, account: str, now: float) -> bytes | None:
        """The answer, if it is the account's and fresh."""
        at, whose, answer = self._new.get(id_) or self._old.get(id_) or (0.0, "", b"")
        return answer if whose == account and now - at < _SECONDS else None
