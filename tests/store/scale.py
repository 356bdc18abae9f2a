"""The read model at ten million messages: `make scale`, or `python -m tests.store.scale --messages N --keep DIRECTORY`.

Fills a database as the projector would leave it after a month of campaigns, then asks for pages by every filter, for
statistics, and writes on into it. Not in the suite: filling takes minutes and some 8 GB.
"""

import argparse
import random
import statistics as figures
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from records import encode, status

from pipeline import ids
from pipeline.config import Settings, Storage
from pipeline.store import tables
from pipeline.store.bulk import Bulk
from pipeline.store.database import WRITES, open_database
from pipeline.store.queries import ReadModel
from pipeline.store.search import Wanted
from pipeline.store.tallies import Counted, Tallies
from pipeline.store.writer import Told, Writer
from schemas.states import STATE, Detailed

NOW = 1_795_348_800
DAYS = 30
_CHUNK = 20_000
_COLUMNS = [column.name for column in tables.messages.columns]
_PLACES = [_COLUMNS.index(name) for name in Counted._fields]
_TEXT = "Your parcel {} has left the depot and will be with you tomorrow between 9 and 11. Reply STOP to opt out."
_STATES = [
    (Detailed.DELIVERED, 0.94), (Detailed.UNDELIVERABLE, 0.03), (Detailed.EXPIRED, 0.015), (Detailed.REJECTED, 0.01),
    (Detailed.SUBMITTED, 0.005),
]  # fmt: skip
_COUNTRIES = [("IT", "39", 0.80), ("ES", "34", 0.15), ("FR", "33", 0.05)]


def rows(count: int, chance: random.Random) -> Iterator[tuple[Any, ...]]:
    """Messages of a month, oldest first: nine of ten of one account, the rest of nine others."""
    states = chance.choices(*zip(*_STATES, strict=True), k=4096)
    countries = chance.choices([(c, p) for c, p, _ in _COUNTRIES], [share for *_, share in _COUNTRIES], k=4093)
    made = 0
    while made < count:
        second = NOW - DAYS * 86_400 + DAYS * 86_400 * made // count
        size = min(chance.choice((1, 20, 500)), count - made)
        account = "acme" if chance.random() < 0.9 else f"account-{chance.randrange(9)}"
        batch = ids.batch_id(made.to_bytes(16, "big"), 0, second * 1000)
        sent, got = (f"2026-11-01T10:00:{n % 30:02d}.{n % 1000:03d}Z" for n in (0, made))
        for index in range(size):
            made += 1
            state = states[made % 4096]
            country, prefix = countries[made % 4093]
            sender, custom = "ACME", f'{{"order":{made},"shop":"milan"}}'
            if made % 500_000 == 1:
                state, country, sender = Detailed.IN_DOUBT, "LU", "Rare"
            yield (
                account, ids.message_id(batch, index), f"request-{batch.hex()}", index, sender,
                f"+{prefix}3{chance.randrange(10**9):09d}", prefix, country, STATE[state], state.name, 6, "GSM-7", 104,
                1, 1, "0.0500", "0.0500", "EUR", "sim", f"c{made}", False, _TEXT.format(made), None, custom, got, sent,
                got if state is Detailed.DELIVERED else None, f"Operator {made % 4}", None, None,
            )  # fmt: skip


def fill(settings: Settings, count: int) -> None:
    engine = open_database(settings)
    bulk, began, chunk, done = Bulk(engine), time.monotonic(), [], 0
    writing = engine.execution_options(**{WRITES: True})

    def flush() -> None:
        tallies = Tallies()
        for row in chunk:
            tallies.add(Counted(*[row[place] for place in _PLACES]))
        with writing.begin() as connection:
            bulk.messages(connection, chunk)
            bulk.statistics(connection, tallies.states, tallies.times)

    for row in rows(count, random.Random(7)):
        chunk.append(row)
        if len(chunk) == _CHUNK:
            flush()
            done += len(chunk)
            chunk.clear()
            if done % 1_000_000 == 0:
                print(f"{done:,} messages after {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    flush()
    with writing.begin() as connection:
        connection.execute(tables.projection.update().values(epoch=1))  # the counters are filled
    engine.dispose()


def measure(what: str, ask: Callable[[], Any], times: int = 15) -> None:
    """Median and worst of some, in ms, and the median of CPU time, which neighbours on the machine leave be."""
    ask()
    took, cpu = [], []
    for _ in range(times):
        began, work = time.perf_counter(), time.thread_time()
        ask()
        cpu.append((time.thread_time() - work) * 1000)
        took.append((time.perf_counter() - began) * 1000)
    print(f"| {what} | {figures.median(took):.1f} | {max(took):.1f} | {figures.median(cpu):.1f} |", flush=True)


def pages(settings: Settings) -> None:
    engine = open_database(settings)
    model = ReadModel(engine)
    middle = f"{NOW - DAYS * 43_200:08x}"
    with engine.connect() as connection:
        first = connection.exec_driver_sql("SELECT min(id) FROM messages WHERE account = 'acme'").scalar_one()
        row = connection.exec_driver_sql(
            f"SELECT id, request_id, recipient FROM messages WHERE account = 'acme' AND id > '{middle}' LIMIT 1"
        ).one()
    every = frozenset(state.name for state in Detailed)
    times = {"since": NOW - 20 * 86_400, "until": NOW - 10 * 86_400}
    asked = {
        "newest": Wanted(),
        "a time": Wanted(**times),
        "recipient": Wanted(recipient=row.recipient),
        "recipient of nobody": Wanted(recipient="+390000"),
        "request": Wanted(requests=(row.request_id,)),
        "state in doubt (20 of all)": Wanted(states=frozenset({"IN_DOUBT"})),
        "state failed (4 %)": Wanted(states=frozenset({"UNDELIVERABLE", "EXPIRED"})),
        "state delivered (94 %)": Wanted(states=frozenset({"DELIVERED"})),
        "states but delivered": Wanted(states=every - {"DELIVERED"}),
        "failed, of a time": Wanted(states=frozenset({"UNDELIVERABLE"}), **times),
        "country (5 %)": Wanted(country="FR"),
        "country (20 of all)": Wanted(country="LU"),
        "failed, of a rare country": Wanted(states=frozenset({"UNDELIVERABLE"}), country="LU"),
        "sender (20 of all)": Wanted(sender="Rare"),
        "custom, none": Wanted(custom=(("order", "-1"),)),
        "custom, all": Wanted(custom=(("shop", "milan"),)),
    }
    print("| pages of 100 | median ms | worst ms | CPU ms |\n|---|---|---|---|")
    for what, wanted in asked.items():
        measure(what, lambda wanted=wanted: model.search("acme", wanted, None, 100))
    measure("newest, behind a cursor in the middle", lambda: model.search("acme", Wanted(), middle, 100))
    for skip in (1_000, 10_000, 100_000):
        measure(f"newest, skip {skip:,}", lambda skip=skip: model.search("acme", Wanted(), None, 100, skip), 5)
    measure("1,000 newest", lambda: model.search("acme", Wanted(), None, 1000))
    measure("one message by id", lambda: model.get("acme", first))
    for by in (["day"], ["country"], ["day", "operator", "carrier", "state"]):
        measure(
            f"statistics of a month by {', '.join(by)}",
            lambda by=by: model.counted("acme", by, "2026-10-20", "2026-11-25"),
        )
    engine.dispose()


def writing(settings: Settings, count: int) -> None:
    """State changes a second, in polls as the projector makes them."""
    engine = open_database(settings)
    writer = Writer(engine)
    chance, polls = random.Random(1), []
    for base in range(0, count, 5000):
        for sequence in (1, 2, 3):
            some = [
                status(n, sequence, recipient=f"+393{chance.randrange(10**9):09d}", request_id=f"r{n // 500}")
                for n in range(base, base + 5000)
            ]
            polls.append([Told(encode(one), _TEXT if sequence == 1 else None) for one in some])
    began, cpu = time.perf_counter(), time.process_time()
    for number, told in enumerate(polls):
        writer.write("status", told, {0: number})
    passed, cpu = time.perf_counter() - began, time.process_time() - cpu
    count = 5000 * len(polls)
    print(f"{count / passed:,.0f} state changes a second; {count / cpu:,.0f} a second of CPU", flush=True)
    engine.dispose()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=10_000_000)
    parser.add_argument("--keep", type=Path, help="a directory to fill, or to ask again")
    parser.add_argument("--changes", type=int, default=180_000, help="state changes written into it at the end")
    parser.add_argument("--database", default="sqlite")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        settings = Settings(storage=Storage(directory=given.keep or Path(directory), database=given.database))
        if not (given.keep and given.keep.exists()):
            fill(settings, given.messages)
        pages(settings)
        writing(settings, given.changes // 3)


if __name__ == "__main__":
    main()
