"""`status`: what became of messages, as the read model knows it."""

import json as json_module
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from pipeline import config
from pipeline.commands.common import ConfigOption, JsonOption, fail, show_json
from pipeline.commands.fates import show_table
from pipeline.commands.stored import Find, finder, with_uploads
from schemas.states import Detailed, is_final

if TYPE_CHECKING:
    from pipeline.store.stored import StoredMessage

_FOLLOW_SECONDS = 0.5
#: A request's messages come by slices: all of those known are final, and for this long no others came.
_QUIET_SECONDS = 3.0


def register(app: typer.Typer) -> None:
    app.command()(status)


def status(
    ids: Annotated[list[str], typer.Argument(help="Message ids.", metavar="[ID]...")] = [],  # noqa: B006
    request: Annotated[
        list[str], typer.Option(help="A request's or upload's id (with --account); may be repeated.")
    ] = [],  # noqa: B006
    account: Annotated[str | None, typer.Option(help="Only messages of this account; looks them up faster.")] = None,
    in_doubt: Annotated[
        bool, typer.Option("--in-doubt", help="Messages of which nobody knows whether the carrier took them.")
    ] = False,
    json: JsonOption = False,
    follow: Annotated[bool, typer.Option("--follow", help="Stay until all are final, and show every change.")] = False,
    config_file: ConfigOption = None,
) -> None:
    """Show messages by id, by request, or those in doubt (which `resend` and `fail` resolve).

    Reads the read model (the database of storage.database), which follows the pipeline within moments; the running
    system is not asked. With --json: a status record a line, with updatedAt, sentAt and deliveredAt.
    """
    if sum(map(bool, (ids, request, in_doubt))) != 1:
        fail("give message ids, or --request with --account, or --in-doubt", 2)
    if request and account is None:
        fail("--request asks for --account: request ids are an account's own", 2)
    wanted = [id_.lower() for id_ in ids]
    settings = config.load(config_file)
    if request and account:
        request = with_uploads(settings, account, request)
    look = _look(finder(settings), account, wanted, request, in_doubt)
    if follow:
        _follow(look, wanted, json, endless=in_doubt)
        return
    found = look()
    show(found, json)
    if in_doubt:
        if not (found or json):
            print("no message is in doubt")
        return
    missing = _missing(found, wanted, request)
    if missing:
        whose = f" of account {account}" if account else ""
        fail(f"the read model knows no {', '.join(missing)}{whose}; a new message takes a moment (--follow waits)")


def _look(
    find: Find, account: str | None, ids: list[str], request: list[str], in_doubt: bool
) -> "Callable[[], list[StoredMessage]]":
    states = [Detailed.IN_DOUBT.name] if in_doubt else []
    return lambda: find(account, ids=ids, request_ids=request, detailed_states=states)


def _follow(look: "Callable[[], list[StoredMessage]]", ids: list[str], json: bool, *, endless: bool) -> None:
    told: dict[str, int] = {}
    last_news = time.monotonic()
    while True:
        found = look()
        news = [message for message in found if told.get(message.id) != message.sequence]
        if news:
            last_news = time.monotonic()
            told |= {message.id: message.sequence for message in news}
            for message in map(_view, news):
                if json:
                    show_json(message)
                else:
                    error = f"  {message['error']['message']}" if message["error"] else ""
                    times = f"{message['updatedAt']}  {message['id']}  {message['recipient']}"
                    print(f"{times}  {message['detailedState']}{error}", flush=True)
        over = bool(found) and not _missing(found, ids, []) and all(_view(message)["final"] for message in found)
        if over and not endless and (ids or time.monotonic() - last_news > _QUIET_SECONDS):
            return
        time.sleep(_FOLLOW_SECONDS)


def _missing(found: "list[StoredMessage]", ids: list[str], request: list[str]) -> list[str]:
    """What was asked for and is not there."""
    known_ids, known_requests = {message.id for message in found}, {message.request_id for message in found}
    return [f"message {i}" for i in ids if i not in known_ids] + [
        f"request {r}" for r in request if r not in known_requests
    ]


def show(found: "list[StoredMessage]", json: bool) -> None:
    views = [_view(message) for message in found]
    if not json:
        if views:
            show_table(views)
        return
    for view in views:
        show_json(view)


def _view(message: "StoredMessage") -> dict[str, Any]:
    """As the status record tells it, with what its request said."""
    plain = {_camel(name): value for name, value in msgspec.structs.asdict(message).items()}
    state = Detailed[message.detailed_state]
    return plain | {
        "final": is_final(state) or (message.dry_run and state == Detailed.ACCEPTED),
        "error": json_module.loads(message.error) if message.error else None,
        "custom": json_module.loads(message.custom),
        "options": json_module.loads(message.options) if message.options else {},
        "callback": json_module.loads(message.callback) if message.callback else None,
    }


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))
