import asyncio

import broker
import pytest

from pipeline import accounts, tokens
from pipeline.accounts import AccountDirectory, AccountRecord
from pipeline.streaming import client
from pipeline.streaming.topics import TopicNames


@pytest.mark.parametrize("name", ["a", "acme.it", "A_b-9", "x" * 64])
def test_names_that_can_be_accounts(name):
    assert accounts.valid_name(name) is None


@pytest.mark.parametrize("name", ["", "x" * 65, "a b", "é", "a/b", "a\n", "a\0"])
def test_names_that_cannot(name):
    assert accounts.valid_name(name) is not None


def test_a_token_is_known_by_its_hash_only():
    token, digest = tokens.new_token()
    assert tokens.is_token(token) and token not in digest
    assert tokens.hash_token(token) == digest
    assert tokens.new_token()[0] != token


def test_the_directory_follows_changes_deletions_and_garbage(kafka, tmp_path):
    settings = broker.settings_for(kafka, tmp_path)
    broker.create_topics(settings)
    topic = TopicNames(settings.kafka.topic_prefix).accounts

    async def scenario() -> None:
        directory, producer = AccountDirectory(settings), client.producer(settings.kafka)
        await producer.start()
        (old, old_hash), (new, new_hash) = tokens.new_token(), tokens.new_token()
        await accounts.put(producer, topic, AccountRecord("acme", "now", [old_hash]))
        await directory.start()
        try:
            assert directory.by_token(old).account == "acme"
            await producer.send_and_wait(topic, key=b"broken", value=b"{")
            await accounts.put(producer, topic, AccountRecord("acme", "now", [new_hash], blocklisted=True))
            await asyncio.gather(*(directory.refresh() for _ in range(50)))  # share a few questions to the broker
            assert directory.by_token(old) is None and directory.get("broken") is None
            assert directory.by_token(new) and directory.get("acme").blocklisted
            await producer.send_and_wait(topic, key=b"acme", value=None)
            await directory.refresh()
            assert directory.by_token(new) is None and directory.get("acme") is None
        finally:
            await directory.stop()
            await producer.stop()

    asyncio.run(scenario())
