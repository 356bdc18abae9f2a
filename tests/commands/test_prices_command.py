import asyncio
import json
import time
from pathlib import Path
from typing import Any

import broker
import pytest
from driving import Cli, wait_for

from pipeline.billing.price_rows import parse_time
from pipeline.billing.prices import PriceList
from pipeline.prices import PriceDirectory, imported
from pipeline.streaming.topics import TopicNames
from schemas.errors import Error

HEADER = "country,operator,prefix,price"
FULL = f"{HEADER},account,discount,carrier,cost,valid_from,valid_until"
OWN = [
    FULL,
    "IT,,,0.0500,,,sim,0.0300,,",
    "IT,TIM,,0.0450,,,,,,",
    "IT,,,0.0400,acme,,,,,",
    "DE,,,0.0800,,,,,,2030-01-01",
    "DE,,,0.0900,,,,,2030-01-01,",
    ",,,,zeta,12.5,,,,",
]


def file(directory: Path, *lines: str, name: str = "list.csv") -> str:
    path = directory / name
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def records(cli: Cli) -> list[Any]:
    return broker.read(cli.settings, TopicNames(cli.settings.kafka.topic_prefix).prices)


def milliseconds(text: str) -> int:
    found = parse_time(text)
    assert isinstance(found, int)
    return found


def states(cli: Cli) -> dict[str, str]:
    return {view["version"]: view["state"] for view in cli.json("prices", "versions")}


def test_without_a_command_it_is_the_configured_list_as_ever(still: Cli, tmp_path: Path) -> None:
    rows = still.json("prices")
    prices = [row for row in rows if "price" in row]
    assert {"country": "IT", "operator": "", "prefix": "", "price": "0.0500", "currency": "EUR"} in prices
    text = still("prices").stdout
    assert text.startswith("the sample list")
    assert "\ncosts\n" in text

    (tmp_path / "sms-pipeline.toml").write_text('[billing]\nprices = "own.csv"\ncurrency = "USD"\n')
    file(tmp_path, HEADER, "IT,,,0.05", name="own.csv")
    config = str(tmp_path / "sms-pipeline.toml")
    assert still.json("prices", "--config", config) == [
        {"country": "IT", "operator": "", "prefix": "", "price": "0.0500", "currency": "USD"}
    ]
    assert "stand behind the command" in still.refused("prices", "--config", config, "versions", code=2)


def test_imported_shown_and_in_force_from_its_moment(still: Cli, tmp_path: Path) -> None:
    (first,) = still.json("prices", "versions")
    assert first["version"].startswith("file-") and first["state"] == "in force"
    before = time.time() * 1000
    (told,) = still.json("prices", "import", file(tmp_path, *OWN))
    assert (told["name"], told["prices"], told["discounts"], told["costs"]) == ("list.csv", 5, 1, 1)
    assert told["imported"] and not told["dryRun"]
    assert before + 5000 <= milliseconds(told["validFrom"]) <= time.time() * 1000 + 6000
    (record,) = records(still)
    stored = json.loads(record.value)
    assert record.key.decode() == stored["version"] == told["version"]
    assert stored["list"]["discounts"] == [{"account": "zeta", "percent": "12.5"}]
    assert states(still) == {first["version"]: "in force", told["version"]: "to come"}
    wait_for(lambda: states(still) == {first["version"]: "configured", told["version"]: "in force"})

    text = still("prices", "show").stdout
    assert text.startswith(f"version {told['version']} (list.csv), valid from {told['validFrom']}")
    assert "\ndiscounts\n" in text and "\ncosts\n" in text
    assert {row["version"] for row in still.json("prices", "show")} == {told["version"]}
    assert {row["version"] for row in still.json("prices", "show", "--at", "2026-01-01")} == {first["version"]}


def test_shown_by_country_account_and_time(still: Cli, tmp_path: Path) -> None:
    (told,) = still.json("prices", "import", file(tmp_path, *OWN), "--valid-from", "2100-01-01")
    version = told["version"]
    assert version.startswith("21000101-")

    def shown(*options: str) -> list[tuple[str, ...]]:
        rows = still.json("prices", "show", "--version", version, *options)
        return [(row["country"], row["operator"], row["price"]) for row in rows if "price" in row]

    assert shown("--country", "de") == [("DE", "", "0.0800"), ("DE", "", "0.0900")]
    assert shown("--country", "DE", "--at", "2029-12-31") == [("DE", "", "0.0800")]
    assert shown("--account", "acme", "--at", "2029-12-31") == [
        ("DE", "", "0.0800"),
        ("IT", "", "0.0400"),
        ("IT", "tim", "0.0400"),
    ]
    assert shown("--account", "zeta", "--at", "2030-01-01") == [
        ("DE", "", "0.07875"),
        ("IT", "", "0.04375"),
        ("IT", "tim", "0.039375"),
    ]
    assert "no version and no file nothing" in still.refused("prices", "show", "--version", "nothing", code=2)
    assert "--at" in still.refused("prices", "show", "--at", "tomorrow", code=2)


def test_a_faulty_list_is_refused_as_a_whole_and_the_old_one_stays(still: Cli, tmp_path: Path) -> None:
    (good,) = still.json("prices", "import", file(tmp_path, *OWN), "--valid-from", "2100-01-01")
    bad = file(tmp_path, HEADER, "IT,,,0.05", "IT,,,5e-2", "ZZ,,,0.05", "FR,SFR,,-0.05", "DE,O2,,0.05", "IT,,,0.05")
    for options in ([], ["--dry-run"]):
        result = still("prices", "import", bad, *options, code=2)
        assert result.stdout == ""
        *faults, end = result.stderr.splitlines()
        assert [fault.removeprefix(f"{bad}: ").split(":")[0] for fault in faults] == [f"line {n}" for n in range(3, 8)]
        assert "refused as a whole (faults: 5)" in end
    (record,) = records(still)
    assert record.key.decode() == good["version"]
    assert len(states(still)) == 2


def test_files_that_are_no_lists(still: Cli, tmp_path: Path) -> None:
    (tmp_path / "latin.csv").write_bytes(f"{HEADER}\nIT,,,0.05\nIT,BIT\xc9,,0.05\n".encode("latin-1"))
    assert "line 3: not UTF-8" in still.refused("prices", "import", str(tmp_path / "latin.csv"), code=2)
    assert "No such file" in still.refused("prices", "import", str(tmp_path / "none.csv"), code=2)
    assert "no price in it" in still.refused("prices", "import", file(tmp_path, HEADER), code=2)
    result = still("prices", "import", file(tmp_path, HEADER, *["x"] * 1000), code=2)
    assert "and 900 more" in result.stderr and result.stderr.count("\n") == 102
    document = {"prices": [{"country": "IT", "price": "0.05"}, {"country": "IT", "price": 0.05}]}
    result = still("prices", "import", file(tmp_path, json.dumps(document), name="list.json"), code=2)
    assert "list.json: prices[1].price: a string is wanted" in result.stderr
    assert records(still) == []


def test_a_list_too_large_for_a_record(still: Cli, tmp_path: Path) -> None:
    rows = (f"IT,,39{n:07d},0.05" for n in range(180_000))
    message = still.refused("prices", "import", file(tmp_path, HEADER, "IT,,,0.05", *rows), code=2)
    assert "180,001 rows are too many" in message
    assert records(still) == []


def test_the_moment_is_ahead_or_now(still: Cli, tmp_path: Path) -> None:
    dated = {"name": "Old", "validFrom": "2020-01-01", "prices": [{"country": "IT", "price": "0.05"}]}
    path = file(tmp_path, json.dumps(dated), name="list.json")
    assert "--now puts it in force" in still.refused("prices", "import", path, code=2)
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2))
    assert "is not after" in still.refused("prices", "import", path, "--valid-from", soon, code=2)
    assert "not both" in still.refused("prices", "import", path, "--valid-from", soon, "--now", code=2)
    assert "--valid-from" in still.refused("prices", "import", path, "--valid-from", "soon", code=2)
    assert records(still) == []
    (told,) = still.json("prices", "import", path, "--now")
    assert told["name"] == "Old" and milliseconds(told["validFrom"]) > time.time() * 1000
    dated["validFrom"] = "2100-01-01"
    (told,) = still.json("prices", "import", file(tmp_path, json.dumps(dated), name="list.json"))
    assert told["validFrom"] == "2100-01-01T00:00:00.000Z"


def test_a_dry_run_needs_no_system_and_writes_nothing(still: Cli, tmp_path: Path) -> None:
    path = file(tmp_path, *OWN)
    (told,) = still.json("prices", "import", path, "--dry-run", "--valid-from", "2100-01-01")
    assert told["dryRun"] and not told["imported"]
    assert "would be in force from 2100-01-01T00:00:00.000Z" in still(
        "prices", "import", path, "--dry-run", "--valid-from", "2100-01-01"
    ).stdout  # fmt: skip
    assert records(still) == []
    (imported,) = still.json("prices", "import", path, "--valid-from", "2100-01-01")
    assert imported["version"] == told["version"]
    (again,) = still.json("prices", "import", path, "--valid-from", "2100-01-01")
    assert again == imported | {"imported": False}
    assert len(records(still)) == 1


def test_differences_of_versions_and_files(still: Cli, tmp_path: Path) -> None:
    old = file(tmp_path, HEADER, "IT,,,0.05", "FR,,,0.06", name="old.csv")
    new = file(tmp_path, HEADER, "IT,,,0.06", "DE,,,0.08", name="new.csv")
    changes = still.json("prices", "diff", old, new)
    assert changes == [
        {"change": "added", "kind": "price", "country": "DE", "before": None, "after": "0.0800", "percent": None},
        {"change": "removed", "kind": "price", "country": "FR", "before": "0.0600", "after": None, "percent": None},
        {
            "change": "changed",
            "kind": "price",
            "country": "IT",
            "before": "0.0500",
            "after": "0.0600",
            "percent": "+20.00",
        },
    ]
    text = still("prices", "diff", old, new).stdout
    assert "+20.00" in text and text.endswith("1 added, 1 removed, 1 changed\n")
    (told,) = still.json("prices", "import", new, "--valid-from", "2100-01-01")
    assert still.json("prices", "diff", old, told["version"]) == changes
    assert still("prices", "diff", new, told["version"]).stdout == "no difference\n"
    (first, _) = still.json("prices", "versions")
    assert len(still.json("prices", "diff", first["version"], told["version"])) > 60
    assert "no version and no file" in still.refused("prices", "diff", old, "20200101-none", code=2)


def test_a_running_process_has_a_version_before_its_moment_and_a_later_one_alike(still: Cli, tmp_path: Path) -> None:
    async def work() -> None:
        running = PriceDirectory(still.settings)
        await running.start()
        try:
            file_version = running.book.configured.version
            await running.keep_configured(int(time.time() * 1000), "worker")
            path = file(tmp_path, HEADER, "IT,,,0.07")
            (told,) = await asyncio.to_thread(still.json, "prices", "import", path)
            moment = milliseconds(told["validFrom"])
            deadline = time.monotonic() + 10
            while running.book.version(told["version"]) is None:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.02)
            assert time.time() * 1000 < moment
            later = PriceDirectory(still.settings)
            await later.start()
            await later.keep_configured(int(time.time() * 1000), "worker")
            await later.stop()
            for one in (running.book, later.book):
                assert [one.at(t).version for t in (0, moment - 1, moment)] == [file_version] * 2 + [told["version"]]
                assert one.at(moment).price("IT", "") == 70_000
        finally:
            await running.stop()

    asyncio.run(work())
    assert len(records(still)) == 2
    assert still("prices", "versions").stdout.count("file-") == 1


def test_records_of_others_do_no_harm(still: Cli, tmp_path: Path) -> None:
    (told,) = still.json("prices", "import", file(tmp_path, HEADER, "IT,,,0.07"), "--valid-from", "2100-01-01")
    (record,) = records(still)
    good = json.loads(record.value)
    past = good | {"version": "past", "validFrom": "2020-01-01T00:00:00.000Z"}
    wrong = good | {"version": "wrong", "validFrom": "2099-01-01T00:00:00.000Z", "list": {"prices": [5]}}
    rows = [(b"a", b"?", 0), (b"b", record.value, 0)]
    rows += [(one["version"].encode(), json.dumps(one).encode(), 0) for one in (past, wrong)]
    broker.produce(still.settings, TopicNames(still.settings.kafka.topic_prefix).prices, rows)

    def shown(*arguments: str) -> list[str]:
        """Versions a command tells of, among what is logged of the records."""
        lines = still("prices", *arguments, "--json").stdout.splitlines()
        return [json.loads(line)["version"] for line in lines if line.startswith("{")]

    assert shown("versions")[1:] == ["wrong", told["version"]]
    assert shown("show", "--at", "2099-02-02")[0].startswith("file-")
    assert shown("show", "--at", "2100-02-02") == [told["version"]]


@pytest.mark.parametrize("ahead", [0, 4_999])
def test_nothing_is_imported_for_a_moment_too_near(ahead: int) -> None:
    found = PriceList.parse([HEADER, "IT,,,0.05"])
    assert isinstance(found, PriceList)
    assert isinstance(imported(found, "", 1_000_000 + ahead, 1_000_000, "me"), Error)
    assert not isinstance(imported(found, "", 1_005_000, 1_000_000, "me"), Error)
