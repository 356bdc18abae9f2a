"""The command `sms-pipeline`: every subcommand stands in pipeline/commands."""

import logging
import os
import sys

import typer

from pipeline import logs
from pipeline.commands import (
    account_money,
    accounts,
    audit,
    batches,
    bench,
    callbacks,
    cancel,
    dead_letters,
    demo,
    find,
    holds,
    in_doubt,
    inspect,
    ledger,
    margin,
    messages,
    moderation_lists,
    opt_outs,
    prices,
    processes,
    read_model,
    show_topics,
    statements,
    tokens,
)
from pipeline.config import ConfigError
from pipeline.ops.child import StartError
from pipeline.streaming.topics import TopicMismatch

app = typer.Typer(
    name="sms-pipeline",
    help="An open SMS sending platform on Kafka: from a request to every message's fate.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for module in (
    processes, demo, messages, find, batches, cancel, in_doubt, inspect, accounts, account_money, tokens, statements,
    margin, holds, audit, ledger, opt_outs, moderation_lists, show_topics, prices, dead_letters, callbacks,
    read_model, bench,
):  # fmt: skip
    module.register(app)


def main() -> None:
    """Entry point of the console script; what a user can mend is said in a line and exits 2."""
    logs.configure(logging.getLevelNamesMapping().get(os.environ.get("SMS_LOG_LEVEL", "INFO").upper(), logging.INFO))
    try:
        app()
    except (ConfigError, TopicMismatch, StartError) as error:
        print(f"sms-pipeline: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
