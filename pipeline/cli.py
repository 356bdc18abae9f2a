"""The command `sms-pipeline`: every subcommand stands in pipeline/commands."""

import logging
import os
import sys

import structlog
import typer

from pipeline.commands import (
    accounts,
    bench,
    dead_letters,
    demo,
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
    processes, demo, messages, in_doubt, inspect, accounts, statements, margin, holds, ledger, opt_outs,
    moderation_lists, show_topics, prices, dead_letters, read_model, bench,
):  # fmt: skip
    module.register(app)


def main() -> None:
    """Entry point of the console script; what a user can mend is said in a line and exits 2."""
    _log_to_stderr()
    try:
        app()
    except (ConfigError, TopicMismatch, StartError) as error:
        print(f"sms-pipeline: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(2)


def _log_to_stderr() -> None:
    """Lines for a person at a terminal, JSON for whatever collects them elsewhere. Level from SMS_LOG_LEVEL."""
    level = logging.getLevelNamesMapping().get(os.environ.get("SMS_LOG_LEVEL", "INFO").upper(), logging.INFO)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")
    renderer = structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
