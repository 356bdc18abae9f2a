"""`messages`: an account's messages by what they have in common, as `GET /messages` finds them."""

from typing import TYPE_CHECKING, Annotated

import typer

from pipeline import config
from pipeline.commands.common import ConfigOption, JsonOption, fail
from pipeline.commands.status import show
from pipeline.commands.stored import answering, opened

if TYPE_CHECKING:
    from pipeline.store.queries import ReadModel
    from pipeline.store.search import Wanted
    from pipeline.store.stored import StoredMessage

_PAGE = 1000


def register(app: typer.Typer) -> None:
    app.command()(messages)


def messages(
    account: Annotated[str, typer.Option(help="Whose.")],
    state: Annotated[list[str], typer.Option(help="state or detailedState; may be repeated.")] = [],  # noqa: B006
    recipient: Annotated[str, typer.Option(help="A number.")] = "",
    request: Annotated[list[str], typer.Option(help="A request's id; may be repeated.")] = [],  # noqa: B006
    batch: Annotated[str, typer.Option(help="An upload's id.")] = "",
    country: Annotated[str, typer.Option(help="Of two letters.")] = "",
    sender: Annotated[str, typer.Option(help="As it was sent.")] = "",
    since: Annotated[str, typer.Option("--from", metavar="TIME", help="A date or an RFC 3339 time; inclusive.")] = "",
    until: Annotated[str, typer.Option("--to", metavar="TIME", help="A date or an RFC 3339 time; exclusive.")] = "",
    custom: Annotated[list[str], typer.Option(help="KEY=VALUE in custom; may be repeated.")] = [],  # noqa: B006
    limit: Annotated[int, typer.Option(help="At most so many.", min=1)] = 100,
    json: JsonOption = False,
    config_file: ConfigOption = None,
) -> None:
    """Show an account's messages that match everything given, newest first.

    Without --recipient, --request, --batch, --state or a time every message may have to be looked at.
    """
    from pipeline.gateway.messages.filters import Given, wanted
    from pipeline.gateway.problems import Refusal
    from pipeline.store.queries import ReadModel

    pairs = [one.partition("=") for one in custom]
    if wrong := next((one for one, (_, equals, _) in zip(custom, pairs, strict=True) if not equals), None):
        fail(f"--custom {wrong}: KEY=VALUE is wanted", 2)
    given = Given(state, recipient, request, batch, country, sender, since, until)
    asked = wanted(given, [(f"custom.{key}", value) for key, _, value in pairs])
    if isinstance(asked, Refusal):
        fail(asked.error.message, 2)
    model = ReadModel(opened(config.load(config_file)))
    with answering():
        found = _found(model, account, asked, limit)
    show(found, json)
    if not (found or json):
        print(f"no message of account {account} matches")


def _found(model: "ReadModel", account: str, wanted: "Wanted", limit: int) -> "list[StoredMessage]":
    """Pages together, up to the limit."""
    found: list[StoredMessage] = []
    behind: str | None = None
    while len(found) < limit:
        page = model.search(account, wanted, behind, min(limit - len(found), _PAGE))
        found += page.messages
        behind = page.behind
        if behind is None:
            break
    return found
