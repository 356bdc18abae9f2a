"""`inspect`: what would become of a text, without sending it."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline import config
from pipeline.commands.common import ConfigOption, JsonOption, fail, show_json

if TYPE_CHECKING:
    from pipeline.inspection import Inspector


def register(app: typer.Typer) -> None:
    app.command()(inspect)


def inspect(
    text: Annotated[str | None, typer.Argument(help="The text; may hold {{field}} placeholders.")] = None,
    sender: Annotated[str | None, typer.Option(help="Alias the message would come from.")] = None,
    recipient: Annotated[str | None, typer.Option(help="Number in E.164 format, such as +393331234567.")] = None,
    field: Annotated[list[str], typer.Option(help="NAME=VALUE for a placeholder; may be repeated.")] = [],  # noqa: B006
    transliterate: Annotated[bool, typer.Option("--transliterate", help="Put GSM-7 look-alikes in place.")] = False,
    json: JsonOption = False,
    config_file: ConfigOption = None,
) -> None:
    """Show a text's alphabet, parts, prohibited terms and price. Needs no running system.

    With --json and no TEXT: an inquiry a line on standard input ({"message", "sender", "recipient", "fields",
    "transliterate"}), an answer a line. With TEXT the exit code is 1 where the message would be refused.
    """
    inspector = _inspector(config_file)
    if text is None:
        if not json:
            fail("give a text, or --json and inquiries on standard input", 2)
        for line in sys.stdin.buffer:
            sys.stdout.buffer.write(inspector.answer(line) + b"\n")
            sys.stdout.buffer.flush()  # whoever sends line by line waits for the answer
        return
    from pipeline.inspection import Inquiry

    if any("\ud800" <= c <= "\udfff" for given in (text, sender or "", recipient or "", *field) for c in given):
        fail("the arguments are not UTF-8", 2)
    found = inspector.inspect(
        Inquiry(message=text, sender=sender, recipient=recipient, fields=_fields(field), transliterate=transliterate)
    )
    if json:
        show_json(found)
    else:
        _show(found)
    if _refusals(found):
        raise typer.Exit(1)


def _inspector(config_file: Any) -> "Inspector":
    from pipeline.carriers.routing import Router
    from pipeline.inspection import Inspector
    from pipeline.lists import price_list, rules
    from pipeline.text import Wire, common

    settings = config.load(config_file)
    wires = {name: carrier.wire for name, carrier in settings.carriers.items()}
    router = Router(settings.routes, list(settings.http_carriers))

    def wire(number: str | None) -> Wire:
        return common(wires.values()) if number is None else router.wires([number], wires)[0]

    return Inspector(price_list(settings), rules(settings), settings.billing.currency, settings.limits.parts, wire)


def _fields(given: list[str]) -> dict[str, str | int | float]:
    found: dict[str, str | int | float] = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not (name and equals):
            fail(f"--field {pair}: write it as NAME=VALUE", 2)
        found[name] = value
    return found


def _refusals(found: dict[str, Any]) -> list[str]:
    """Why the message would not be sent."""
    wrong = [f"{found['error']['message']} ({found['error']['code']})"] if "error" in found else []
    for side in ("sender", "recipient"):
        error = found[side] and found[side]["error"]
        if error:
            wrong.append(f"{side}: {error['message']} ({error['code']})")
    return wrong + [_finding(hit) for hit in found["findings"] if hit["severity"] == "block"]


def _finding(hit: dict[str, Any]) -> str:
    what = "prohibited" if hit["severity"] == "block" else "reported"
    return f"{what}: {hit['kind']} {hit['term']} at {hit['start']}-{hit['end']} ({hit['folding']})"


def _show(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    lines = Table.grid(padding=(0, 2))

    def line(name: str, value: str, style: str = "") -> None:
        lines.add_row(Text(name, "bold"), Text(value, style))

    if found["encoding"]:
        line("encoding", found["encoding"])
        line("characters", str(found["charactersCount"]))
        line("parts", str(found["messageCount"]))
    if found["nonGsmCharacters"]:
        marked = ", ".join(f"{c['character']!r} at {c['index']}" for c in found["nonGsmCharacters"])
        line("not in GSM-7", marked, "yellow")
    if found["transliterated"]:
        put = ", ".join(f"{c['character']!r} at {c['index']}: {c['replacement']!r}" for c in found["transliterated"])
        line("replaced", put, "yellow")
    if "choice" in found:
        line("because", found["choice"]["reason"])
    if found["recipient"] and found["recipient"]["valid"]:
        to = found["recipient"]
        line("recipient", f"{to['countryCode']} +{to['internationalPrefix']} {to['operator'] or ''} ({to['type']})")
    if found["price"]:
        line("price", f"{found['price']} {found['currency']} a part")
    if found["totalPrice"]:
        line("in all", f"{found['totalPrice']} {found['currency']}")
    for number, part in enumerate(found["parts"], 1):
        line(f"part {number}", f"{part['udh']} {part['payload']}".strip(), "dim")
    for hit in found["findings"]:
        if hit["severity"] == "flag":
            line("reported", _finding(hit), "yellow")
    for refusal in _refusals(found):
        line("refused", refusal, "red")
    Console(highlight=False).print(lines)
