"""`batches`: uploads and their progress, from the read model."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline import config
from pipeline.commands.common import ConfigOption, JsonOption, fail, show_json
from pipeline.commands.stored import answering, opened
from pipeline.config import Settings

if TYPE_CHECKING:
    from pipeline.store.batches import Batches
    from schemas.batch import BatchRecord


def register(app: typer.Typer) -> None:
    app.command()(batches)


def batches(
    id_: Annotated[str | None, typer.Argument(metavar="[ID]", help="One batch, with its bad lines.")] = None,
    account: Annotated[str | None, typer.Option(help="Only those of this account.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many, the newest.", min=1)] = 20,
    json: JsonOption = False,
    config_file: ConfigOption = None,
) -> None:
    """Show uploads of recipients, newest first: where their messages are, and what they cost so far.

    With --json: an object a line, as the gateway tells it.
    """
    settings = config.load(config_file)
    engine = opened(settings)
    from pipeline.store.batches import Batches

    store = Batches(engine)
    with answering():
        found = store.page(account, None, limit) if id_ is None else store.named(id_, account)
        if id_ is not None and not found:
            fail(f"the read model knows no batch {id_}{f' of account {account}' if account else ''}")
        views = [_view(store, one, settings) for one in found]
    if json:
        for view in views:
            show_json(view)
        return
    line = "{:<24}  {:<16}  {:<32}  {:>10}  {:>7}  {:>14}  {}"
    print(line.format("created", "account", "id", "recipients", "final", "spent", "name"))
    for view in views:
        share, cost = view["progress"]["share"], view["cost"]
        cells = [view[field] for field in ("createdAt", "account", "id", "recipients")]
        print(line.format(*cells, f"{share:.1%}", cost["spent"], view["name"] or "").rstrip())
    if id_ is not None:
        for view in views:
            _tell_more(view)


def _view(store: "Batches", record: "BatchRecord", settings: Settings) -> dict[str, Any]:
    from pipeline.store.batch_views import bad_lines, how_far, told

    requests = store.requests(record, record.id)
    progress = store.progress(record.account, requests, record.recipients, record.dry_run)
    money = how_far(progress, store.cost(record.account, requests), settings.billing.currency)
    return {"account": record.account, **told(record), **money, **bad_lines(record)}


def _tell_more(view: dict[str, Any]) -> None:
    for state, count in view["detailedStates"].items():
        print(f"{count:>10}  {state}")
    if waiting := view["recipients"] - view["progress"]["known"]:
        print(f"{waiting:>10}  not told of yet")
    if view["repeats"]:
        print(f"{view['repeats']} repeated numbers left out: each is sent to once")
    for bad in view["badLines"]:
        print(f"line {bad['line']}: {bad['reason']}")
    if more := view["badLineCount"] - len(view["badLines"]):
        print(f"and {more} more bad lines")
