from pathlib import Path

from pipeline.text import LOOKALIKES, page

PAGE = Path(__file__).parents[2] / "docs" / "text.md"


def test_the_page_lists_what_the_code_does() -> None:
    _, tables = PAGE.read_text(encoding="utf-8").split(page.MARK)
    assert tables == page.tables(), "docs/text.md is old: run `make docs`"


def test_every_replacement_is_on_the_page() -> None:
    tables = page.tables()
    for character in LOOKALIKES:
        assert f"U+{ord(character):04X}" in tables
