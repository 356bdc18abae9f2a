"""Whole systems for tests to share."""

from contextlib import ExitStack
from typing import Any

from endtoend import Cli, Place, Status, User, assert_one_final_each, headers, runs

from pipeline.ops.rig import Rig

PARTITIONS = 4
CREDIT = 1_000_000
REQUEST_BYTES = 4_000_000
GOOD = "+393331234567"
LANDLINE = "+390669812345"


class System:
    """A whole system with a simulated carrier, the commands on it, and a user whose account has 1,000,000."""

    def __init__(self, rig: Rig, user: User) -> None:
        self.rig, self.user = rig, user
        self.pids = rig.system.pids
        self.cli = Cli(
            {
                "SMS_KAFKA__BOOTSTRAP_SERVERS": rig.settings.kafka.bootstrap_servers,
                "SMS_KAFKA__PARTITIONS": str(PARTITIONS),
                "SMS_STORAGE__DIRECTORY": str(rig.directory),
            }
        )
        self.unreadable: set[Place] = set()  # records that are expected among the dead letters

    def refused(self, value: bytes | None, **more: Any) -> str:
        """The reason on the dead letter of this record; a good request right behind it arrives."""
        place = self.user.produce(value, partition=1, key=b"\x00\xff", **more)
        self.unreadable.add(place)
        self.neighbour()
        letter = self.user.dead_letter(place)
        assert (letter.key, letter.value) == (b"\x00\xff", value or b"")
        found = headers(letter)
        assert found["stage"] == "validate"
        return found["reason"]

    def told(self, recipients: list[Any], text: str = "Hello", **more: Any) -> list[Status]:
        """The final records of a request's recipients; a good request right behind it arrives."""
        request = self.user.send(recipients, partition=1, **{"message": text, **more})
        self.neighbour()
        found = self.user.fates(request, len(recipients))
        assert [told["index"] for told in found] == list(range(len(found)))
        return found

    def neighbour(self) -> None:
        told = self.user.fate(self.user.send([GOOD], partition=1))
        assert (told["state"], told["error"]) == ("DELIVERED", None)

    def assert_sound(self) -> None:
        """No process has died, no message ended twice or was sent twice, no money is left reserved."""
        assert self.user.no_dead_letters_but(self.unreadable) == []
        assert self.rig.system.pids == self.pids
        assert [name for name, pid in self.pids.items() if not runs(pid)] == []
        for told in self.user.everything().values():
            assert_one_final_each(told)
        assert self.rig.stats()["repeatedReferences"] == 0
        self.user.money(lambda balance, reserved: reserved == 0)


class Systems:
    """Starting one takes ten seconds, so tests share it; a supervisor wants to be the only one, so there is one."""

    def __init__(self) -> None:
        self._running: tuple[str, System, ExitStack] | None = None

    def get(self, name: str, carrier: list[str], overrides: dict[str, str]) -> System:
        """The system of this name, if it runs; else it is started in place of what does."""
        if self._running is None or self._running[0] != name:
            self.stop()
            with ExitStack() as stack:
                overrides = {"SMS_KAFKA__PARTITIONS": str(PARTITIONS), **overrides}
                rig = stack.enter_context(Rig(carrier=carrier, overrides=overrides))
                user = stack.enter_context(User(rig.settings.kafka.bootstrap_servers))
                user.run(_open_account(rig))
                user.money(lambda balance, reserved: balance == CREDIT)
                self._running = name, System(rig, user), stack.pop_all()
        return self._running[1]

    def stop(self) -> None:
        if self._running:
            self._running[2].close()
            self._running = None


async def _open_account(rig: Rig) -> None:
    async with rig.producer() as producer:
        await rig.open_account(producer, CREDIT * 10**6)
