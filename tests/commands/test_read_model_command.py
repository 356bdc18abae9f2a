"""`read-model` and `messages`, on a system whose store runs."""

from driving import Cli, wait_for

from pipeline.config import Settings
from pipeline.store.database import open_database
from pipeline.store.queries import ReadModel
from pipeline.store.writer import Writer
from pipeline.streaming.topics import TopicNames

NUMBER = "+393331112233"


def known(settings: Settings, account: str) -> list[str]:
    model = ReadModel(open_database(settings))
    try:
        return [row.id for row in model.page(account, 0, 100)]
    finally:
        model.close()


def sent_and_known(cli: Cli, account: str, count: int) -> None:
    to = [word for n in range(count) for word in ("--to", NUMBER if not n else f"+39333222{n:04d}")]
    cli("account", "create", account, "--credit", "10")
    cli("send", "--account", account, "--text", "Hello", "--request-id", f"for-{account}", *to)
    wait_for(lambda: len(known(cli.settings, account)) == count, 30)


def told(cli: Cli, account: str) -> list[dict[str, object]]:
    return cli.json("status", "--account", account, "--request", f"for-{account}")


def test_status_tells_rows_size_and_lag(running: Cli) -> None:
    sent_and_known(running, "counted", 3)
    (found,) = running.json("read-model", "status")
    assert found["database"] == "sqlite" and found["messages"] >= 3 and found["bytes"] > 0
    assert str(found["oldest"]).endswith("Z")
    wait_for(lambda: running.json("read-model", "status")[0]["lag"] == 0)
    assert "messages" in running("read-model", "status").stdout


def test_rebuilding_while_the_system_runs_loses_nothing(running: Cli) -> None:
    sent_and_known(running, "rebuilt", 4)
    before = told(running, "rebuilt")
    assert "read again" in running("read-model", "rebuild").stdout
    assert told(running, "rebuilt") == before
    wait_for(lambda: running.json("read-model", "status")[0]["lag"] == 0)
    running("read-model", "rebuild", "--empty", "--yes")
    wait_for(lambda: running.json("read-model", "status")[0]["lag"] == 0)
    assert told(running, "rebuilt") == before
    assert running("read-model", "rebuild", "--empty", stdin="n\n", code=1)


def test_an_erased_number_stays_erased_over_a_rebuild(running: Cli) -> None:
    sent_and_known(running, "erased", 2)
    assert "messages erased" in running("read-model", "erase", "--recipient", NUMBER, "--account", "erased").stdout
    for _ in range(2):
        recipients = {str(one["recipient"]) for one in told(running, "erased")}
        assert recipients == {"+39***", "+393332220001"}
        running("read-model", "rebuild", "--empty", "--yes")
        wait_for(lambda: len(known(running.settings, "erased")) == 2)
        wait_for(lambda: running.json("read-model", "status")[0]["lag"] == 0)
    assert "0 messages erased" in running("read-model", "erase", "--recipient", "+390000000000").stdout
    assert "--recipient" in running.refused("read-model", "erase", "--recipient", " ", code=2)


def test_without_a_read_model_there_is_nothing_to_tell(still: Cli) -> None:
    for command in (["status"], ["rebuild"], ["erase", "--recipient", NUMBER]):
        assert "no read model" in still.refused("read-model", *command)


def test_the_lag_is_not_known_without_kafka(still: Cli) -> None:
    engine = open_database(still.settings)
    Writer(engine).offsets(TopicNames(still.settings.kafka.topic_prefix).status)
    engine.dispose()
    still.environment["SMS_KAFKA__BOOTSTRAP_SERVERS"] = "127.0.0.1:1"
    (found,) = still.json("read-model", "status")
    assert found["lag"] is None and found["messages"] == 0


def test_messages_are_found_by_what_they_have_in_common(running: Cli) -> None:
    sent_and_known(running, "found", 3)

    def numbers(*filters: str) -> list[object]:
        return [one["recipient"] for one in running.json("messages", "--account", "found", *filters)]

    assert sorted(map(str, numbers())) == sorted([NUMBER, "+393332220001", "+393332220002"])
    assert numbers("--recipient", NUMBER, "--state", "NEW", "--request", "for-found") == [NUMBER]
    assert len(numbers("--country", "it", "--limit", "2")) == 2
    assert numbers("--custom", "order=1") == numbers("--to", "2020-01-01") == numbers("--state", "IN_DOUBT") == []
    assert NUMBER in running("messages", "--account", "found").stdout
    assert "no message" in running("messages", "--account", "found", "--sender", "Nobody").stdout
    assert "state: 'GONE'" in running.refused("messages", "--account", "found", "--state", "GONE", code=2)
    assert "KEY=VALUE" in running.refused("messages", "--account", "found", "--custom", "order", code=2)
