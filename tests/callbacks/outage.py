"""A client that fails for a while and recovers has every event once it is back, in order per message.

python -m tests.callbacks.outage [SECONDS]      (five minutes, with the pauses of a real system)
"""

import random
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "streaming"))
sys.path.insert(0, str(Path(__file__).parent))

import broker
from calling import DELIVERED, PENDING, Stage, batch, message, notice
from receiving import Heard, Receiver
from working import wait_for


class Outage:
    """Failures of every kind until a moment: refusals, silence, a connection cut in the middle."""

    def __init__(self, seconds: float) -> None:
        self.until = time.monotonic() + seconds
        self.failures = 0
        self._chance = random.Random(3)

    def __call__(self, heard: Heard, number: int) -> int:
        if time.monotonic() >= self.until:
            return 200
        self.failures += 1
        kind = self._chance.choice(["500", "503", "429", "slow", "cut"])
        if kind == "slow":
            time.sleep(0.5)
        if kind == "cut":
            raise ConnectionAbortedError
        return int(kind) if kind.isdigit() else 502


def run(stage: Stage, receiver: Receiver, seconds: float, messages: int) -> dict[str, float]:
    """Tell the moves of messages to a callback and to an endpoint before, in and after an outage; asserts that each
    has all of them, in order. Figures."""
    endpoint = stage.endpoint(receiver.url("/endpoint"), account="outage", events=("message.*",))
    callback = {"url": receiver.url("/callback"), "retry": 5}
    abouts = [batch(4, account="outage", callback=callback) for _ in range(messages // 4)]
    third = len(abouts) // 3
    stage.tell(*(notice(about, PENDING) for about in abouts[:third]))
    wait_for(lambda: len(receiver.taken) == 2 * 4 * third)
    receiver.answer = outage = Outage(seconds)
    stage.tell(*(notice(about, DELIVERED) for about in abouts[:third]))
    stage.tell(*(notice(about, state) for about in abouts[third:] for state in (PENDING, DELIVERED)))
    while time.monotonic() < outage.until:
        time.sleep(0.1)
    back = time.monotonic()
    wanted = {message(about, place): ["PENDING", "DELIVERED"] for about in abouts for place in range(4)}
    for path in ("/callback", "/endpoint"):
        wait_for(
            lambda path=path: told(receiver, path) == wanted, 120, lambda path=path: str(len(told(receiver, path)))
        )
    stage.put(
        type(endpoint)(**{name: getattr(endpoint, name) for name in endpoint.__struct_fields__} | {"enabled": False})
    )
    return {
        "outageSeconds": seconds,
        "events": 4 * len(wanted),
        "failedCalls": outage.failures,
        "secondsToCatchUp": round(max(heard.at for heard in receiver.taken) - back, 1),
    }


def told(receiver: Receiver, path: str) -> dict[str, list[str]]:
    """The states each message was told at a path with success, repeats once."""
    found: dict[str, dict[str, str]] = {}
    for heard in receiver.taken:
        if heard.path == path:
            about = heard.json.get("data", heard.json) if path == "/endpoint" else heard.json
            found.setdefault(about["id"], {}).setdefault(heard.id, about["state"])
    return {message: list(states.values()) for message, states in found.items()}


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 300.0
    with tempfile.TemporaryDirectory() as place, broker.broker(Path(place) / "broker") as kafka, Receiver() as receiver:
        directory = Path(place) / "stage"
        directory.mkdir()
        with Stage(kafka, directory, SMS_CALLBACKS__RETRY_SECONDS="5") as stage:
            print(run(stage, receiver, seconds, 400))


if __name__ == "__main__":
    main()
