"""`account token`, `account tokens`, `account revoke`: an account's bearer tokens."""

import re
import time
from typing import Annotated

import typer

from pipeline.billing.price_rows import parse_time
from pipeline.commands.accounts import Name, account, register_of
from pipeline.commands.common import ConfigOption, JsonOption, audited, fail, producing, running, show_json
from pipeline.commands.reading import ask
from pipeline.config import Settings
from pipeline.stages.fate import rfc3339
from pipeline.streaming.topics import TopicNames
from pipeline.tokens import MAX_TOKENS, USUAL, Scope, Token, make_token
from schemas.errors import Error

_SPAN = re.compile(r"([1-9][0-9]{0,8})([smhdw])").fullmatch
_UNIT_MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 7 * 86_400_000}
_MOST_NAME = 100
_LATEST = 253_402_300_800_000  # the year 10000


def register(app: typer.Typer) -> None:
    """`app` has `account` already."""
    account.command("token")(make)
    account.command("tokens")(show)
    account.command()(revoke)


def make(
    name: Name,
    scope: Annotated[list[Scope], typer.Option(help="What it may do; may be repeated.")] = list(USUAL),  # noqa: B006
    expires: Annotated[
        str | None, typer.Option(help="After a span such as 30d (s, m, h, d, w), or at a date or an RFC 3339 time.")
    ] = None,
    label: Annotated[str, typer.Option("--name", help="What it is for; shown with it.")] = "",
    config_file: ConfigOption = None,
) -> None:
    """Print a new bearer token. It is shown this once; only its hash is kept. Earlier tokens stay valid."""
    if len(label) > _MOST_NAME:
        fail(f"--name: at most {_MOST_NAME} characters", 2)
    now = time.time_ns() // 1_000_000
    until = None if expires is None else _moment(expires, now)
    settings = running(config_file)

    async def work() -> str:
        if len(await _tokens(settings, name)) >= MAX_TOKENS:
            fail(f"account {name} has {MAX_TOKENS} tokens; revoke one first, see `sms-pipeline account tokens {name}`")
        secret, token = make_token(name, at=now, scopes=scope, expires=until, name=label)
        told = {"scopes": list(token.scopes), "name": label or None, "expiresAt": until and rfc3339(until)}
        await _put(settings, "token.create", [(token, token.value)], **told)
        return secret

    print(ask(work()))


def show(name: Name, json: JsonOption = False, config_file: ConfigOption = None) -> None:
    """List the tokens of an account, the oldest first. With --json: an object a line."""
    settings = running(config_file)
    found = ask(_tokens(settings, name))
    now = time.time_ns() // 1_000_000
    for token in found:
        created = rfc3339(token.created) if token.created else None
        expires = None if token.expires is None else rfc3339(token.expires)
        if json:
            view = {"id": token.id, "name": token.name, "scopes": list(token.scopes), "createdAt": created}
            show_json({**view, "expiresAt": expires, "expired": token.expired(now)})
        else:
            until = "for ever" if expires is None else f"{'expired' if token.expired(now) else 'until'} {expires}"
            print(f"{token.id}  {','.join(token.scopes):<15}  {created or '':<24}  {until:<32}  {token.name}".rstrip())
    if not found and not json:
        print(f"account {name} has no token; make one with `sms-pipeline account token {name}`")


def revoke(
    name: Name,
    ids: Annotated[list[str] | None, typer.Argument(metavar="[TOKEN-ID]...", help="As `tokens` lists them.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every token of the account.")] = False,
    config_file: ConfigOption = None,
) -> None:
    """Revoke tokens: within a second they open nothing any more."""
    if bool(ids) == every:
        fail("name the ids of tokens, or say --all", 2)
    settings = running(config_file)

    async def work() -> int:
        known = {token.id: token for token in await _tokens(settings, name)}
        if missing := [id_ for id_ in ids or [] if id_ not in known]:
            fail(f"account {name} has no token {', '.join(missing)}; see `sms-pipeline account tokens {name}`")
        chosen = list(known.values()) if every else [known[id_] for id_ in dict.fromkeys(ids or [])]
        await _put(settings, "token.revoke", [(token, token.revocation) for token in chosen])
        return len(chosen)

    print(f"account {name}: {ask(work())} revoked")


async def _tokens(settings: Settings, name: str) -> list[Token]:
    """The account's tokens as of now; ends the command where there is no such account."""
    register = await register_of(settings)
    if register.get(name) is None:
        fail(f"no account {name}; create it with `sms-pipeline account create {name}`")
    return register.tokens(name)


async def _put(settings: Settings, action: str, rows: list[tuple[Token, bytes | None]], **details: object) -> None:
    topic = TopicNames(settings.kafka.topic_prefix).accounts
    async with producing(settings) as producer:
        for token, value in rows:
            await audited(producer, settings, action, token.account, token=token.id, **details)
            await producer.send_and_wait(topic, key=token.key, value=value)


def _moment(text: str, now: int) -> int:
    """Unix ms of a span from now or of a time, in the future."""
    if span := _SPAN(text):
        moment: int | Error = now + int(span[1]) * _UNIT_MS[span[2]]
    else:
        moment = parse_time(text)
    if isinstance(moment, Error):
        fail(f"--expires {moment.message}, or a span such as 30d", 2)
    if not now < moment < _LATEST:
        fail(f"--expires {text}: is past, or never comes", 2)
    return moment
