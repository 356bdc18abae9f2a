"""The Faust application of a stage, with every setting that keeps records from being lost.

Two things of Faust are replaced: its consumer (see consumer.py) and the way tables are written (see state.py).
"""

import logging
from pathlib import Path

import faust
from faust.transport.drivers import aiokafka as driver
from yarl import URL

from pipeline.config import Kafka, Settings
from pipeline.streaming import client
from pipeline.streaming.consumer import Consumer
from pipeline.streaming.recovery import Recovery

#: A dead member's partitions are free after this; a restarted worker of the same instance has them back at once.
SESSION_TIMEOUT_SECONDS = 10.0

#: A member that is finishing its windows is waited for so long in a rebalance: longer than a window's calls to a
#: carrier may take once it drains (stages/dispatch.py), or others would take over work that is still being done.
REBALANCE_SECONDS = 120.0

#: A partition's share of one fetch. One fetch at a time brings all partitions of a broker, so a large share of bulk
#: makes the priority lane wait for it. A larger record still comes, alone.
_FETCH_BYTES = 256 * 1024

driver.Transport.Consumer = Consumer

logging.getLogger("faust").setLevel(logging.WARNING)
logging.getLogger("mode").setLevel(logging.WARNING)
logging.getLogger("aiokafka").setLevel(logging.WARNING)


def create(settings: Settings, stage: str, instance: str | None, *, poll: int = 32) -> faust.App:
    """A stage's app: one consumer group a stage. `instance` names this process for static membership and its store.

    `poll`: records taken from the consumer at a time; few where records are large.
    """
    kafka = Recovery.kafka = settings.kafka
    app = faust.App(
        f"{kafka.topic_prefix}{stage}",
        broker=[URL(f"kafka://{server.strip()}") for server in kafka.bootstrap_servers.split(",")],
        broker_credentials=_credentials(kafka),
        store="rocksdb://",
        datadir=tables_directory(settings, instance) / stage,
        autodiscover=False,
        web_enabled=False,
        topic_disable_leader=True,
        topic_partitions=kafka.partitions,
        topic_replication_factor=kafka.replication,
        table_standby_replicas=0,
        consumer_auto_offset_reset="earliest",
        consumer_group_instance_id=f"{stage}-{instance}" if instance else None,
        consumer_max_fetch_size=_FETCH_BYTES,
        broker_session_timeout=SESSION_TIMEOUT_SECONDS,
        broker_heartbeat_interval=2.0,
        broker_rebalance_timeout=REBALANCE_SECONDS,
        broker_commit_interval=1.0,
        broker_request_timeout=60.0,
        broker_max_poll_interval=300.0,
        broker_max_poll_records=poll,
        broker_commit_livelock_soft_timeout=3600.0,  # its warnings are often false; lag is what we watch
        stream_processing_timeout=3600.0,
        # At four fifths of its queue Faust stops fetching a partition; what is on its way then (a poll, and a record
        # of each partition) must still fit, or the one loop that fills all queues, the priority lane's too, waits.
        stream_buffer_maxsize=5 * (poll + kafka.partitions),
        producer_acks=-1,
        producer_request_timeout=60.0,
    )
    app.conf.datadir.mkdir(parents=True, exist_ok=True)
    app.conf.tabledir.mkdir(parents=True, exist_ok=True)
    return app


def tables_directory(settings: Settings, instance: str | None) -> Path:
    """Where a process keeps its stores. RocksDB is one process's: another instance has another directory.

    Not `tables`, where an earlier version had stores that lost values in compactions: these are read anew.
    """
    return settings.storage.directory / "stores" / (instance or "single")


def _credentials(kafka: Kafka) -> faust.types.auth.CredentialsT | None:
    context = client.tls_context(kafka) if kafka.security_protocol.endswith("SSL") else None
    if kafka.security_protocol.startswith("SASL"):
        password = kafka.sasl_password.get_secret_value() if kafka.sasl_password else None
        return faust.SASLCredentials(
            username=kafka.sasl_username, password=password, mechanism=kafka.sasl_mechanism, ssl_context=context
        )
    return faust.SSLCredentials(context) if context else None
