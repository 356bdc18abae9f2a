import asyncio

import broker
import pytest
from aiokafka.admin import NewTopic
from working import wait_for

from pipeline.config import HttpCarrier, Settings
from pipeline.streaming import client, topics


def partitions(settings: Settings) -> dict[str, int]:
    async def ask() -> dict[str, int]:
        admin = client.admin(settings.kafka)
        await admin.start()
        try:
            mine = [t for t in await admin.list_topics() if t.startswith(settings.kafka.topic_prefix)]
            return {d["topic"]: len(d["partitions"]) for d in await admin.describe_topics(mine)} if mine else {}
        finally:
            await admin.close()

    return asyncio.run(ask())


def test_every_topic_is_there_after_one_call_and_the_next_changes_nothing(settings: Settings):
    settings = settings.model_copy(update={"carriers": {"sim": HttpCarrier(url="http://sim.invalid")}})
    broker.create_topics(settings)
    found = partitions(settings)
    assert found == {topic.name: topic.partitions for topic in topics.catalogue(settings)}
    assert settings.kafka.topic_prefix + "dispatch.sim.priority" in found
    broker.create_topics(settings)
    assert partitions(settings) == found


def test_processes_that_start_together_may_all_create(settings: Settings):
    async def together() -> None:
        await asyncio.gather(*(topics.ensure(settings) for _ in range(4)))

    asyncio.run(together())
    assert len(partitions(settings)) == len(topics.catalogue(settings))


def test_a_topic_that_does_not_fit_is_named_and_nothing_is_created(settings: Settings):
    wrong = topics.TopicNames(settings.kafka.topic_prefix).encoded(topics.PRIORITY)

    async def beforehand() -> None:
        admin = client.admin(settings.kafka)
        await admin.start()
        try:
            await admin.create_topics([NewTopic(wrong, 2, 1)])
        finally:
            await admin.close()

    asyncio.run(beforehand())
    wait_for(lambda: partitions(settings) == {wrong: 2})
    with pytest.raises(topics.TopicMismatch, match=f"{wrong} has 2 partitions, the configuration wants 3"):
        broker.create_topics(settings)
    assert partitions(settings) == {wrong: 2}
