import asyncio
from pathlib import Path

import broker
import pytest
from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from working import wait_for

from pipeline.config import HttpCarrier, Settings, Storage
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


def test_topics_that_were_made_for_less_keep_their_records_longer(settings: Settings):
    def kept(topic: str) -> dict[str, str]:
        async def ask() -> dict[str, str]:
            admin = client.admin(settings.kafka)
            await admin.start()
            try:
                (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
                return {key: value for key, value, _, source, *_ in answer.resources[0][4] if source == 1}
            finally:
                await admin.close()

        return asyncio.run(ask())

    def of(days: float) -> Settings:
        return settings.model_copy(update={"storage": Storage(directory=Path(), retention_days=days)})

    names = topics.TopicNames(settings.kafka.topic_prefix)
    changelog, day = names.changelog("track"), 24 * 3600 * 1000
    broker.create_topics(of(3))
    before = kept(changelog)
    assert before["retention.ms"] == str(3 * day)
    broker.create_topics(of(10))
    wait_for(lambda: kept(changelog) == before | {"retention.ms": str(10 * day)})
    wait_for(lambda: kept(names.intake())["retention.ms"] == str(10 * day))
    assert kept(names.ticks)["retention.ms"] == str(3600 * 1000)
    assert "retention.ms" not in kept(names.accounts)
    broker.create_topics(of(4))
    assert kept(changelog)["retention.ms"] == str(10 * day)
