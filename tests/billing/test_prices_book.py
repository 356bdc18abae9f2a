import random
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from pipeline.billing import PriceList
from pipeline.billing.price_book import PriceBook, Version
from pipeline.billing.price_diff import diff


def listed(price: str, version: str = "") -> PriceList:
    found = PriceList.parse(["country,operator,prefix,price", f"IT,,,{price}"])
    assert isinstance(found, PriceList)
    return PriceList(found.rows, version=version)


def loading(version: str, made: list[str] | None = None) -> Callable[[], PriceList]:
    """How a version's list is made; notes that it was."""

    def load() -> PriceList:
        if made is not None:
            made.append(version)
        return listed("0.06", version)

    return load


FILE = listed("0.05")


def known(*versions: tuple[str, int | None, int]) -> PriceBook:
    """A book of (version, valid from, imported at)."""
    book = PriceBook(FILE)
    for name, valid_from, imported_at in versions:
        book.add(Version(name, "", valid_from, imported_at, "me"), loading(name))
    return book


def in_force(book: PriceBook, *moments: int) -> list[str]:
    return [book.at(moment).version for moment in moments]


def test_the_configured_list_holds_before_the_first_import() -> None:
    assert in_force(known(), 0, 10**15) == [FILE.version] * 2
    assert in_force(known(("a", 1000, 1)), 0, 999, 1000, 10**15) == [FILE.version, FILE.version, "a", "a"]


def test_the_later_import_counts_of_two_from_the_same_moment() -> None:
    assert in_force(known(("z", 1000, 1), ("a", 1000, 2)), 1000) == ["a"]
    assert in_force(known(("a", 1000, 2), ("z", 1000, 1)), 1000) == ["a"]


def test_what_is_kept_for_the_trace_is_never_in_force() -> None:
    book = known(("file-old", None, 5), ("a", 1000, 1))
    assert in_force(book, 0, 1000) == [FILE.version, "a"]
    assert book.get("file-old") is not None and book.get("other") is None and book.get(FILE.version) is FILE
    assert [version.version for version in book.versions()] == ["a", "file-old"]


def test_what_cannot_be_read_is_passed_over() -> None:
    book = known(("a", 1000, 1))
    book.add(Version("bad", "", 2000, 2, "me"), lambda: None)
    assert in_force(book, 1000, 2000) == ["a", "a"]
    book.remove("a")
    assert in_force(book, 1000, 2000) == [FILE.version] * 2


def test_lists_are_made_when_they_are_needed_and_few_are_kept() -> None:
    made: list[str] = []
    book = PriceBook(FILE)
    for n in range(20):
        book.add(Version(f"v{n}", "", 10 * n, n, ""), loading(f"v{n}", made))
    assert made == []
    assert in_force(book, 15, 15, 25, 15) == ["v1", "v1", "v2", "v1"]
    assert made == ["v1", "v2"]
    in_force(book, *range(0, 200, 10))
    assert in_force(book, 15) == ["v1"]
    assert made.count("v1") == 2


VERSIONS = st.lists(
    st.tuples(st.text("abc", min_size=1), st.integers(0, 50), st.integers(0, 50)), unique_by=lambda version: version[0]
)


@given(VERSIONS, st.randoms(use_true_random=False), st.lists(st.integers(0, 60)))
def test_the_same_record_has_the_same_price_whatever_came_when(
    versions: list[tuple[str, int, int]], chance: random.Random, moments: list[int]
) -> None:
    """A replay knows all versions at once; who was there saw them one by one, in any order, and asked in between."""
    replayed, seen = known(*versions), PriceBook(FILE)
    shuffled = list(versions)
    chance.shuffle(shuffled)
    for name, valid_from, imported_at in shuffled:
        seen.add(Version(name, "", valid_from, imported_at, ""), loading(name))
        in_force(seen, *moments)
    assert in_force(seen, *moments) == in_force(replayed, *moments)
    for moment in moments:
        begun = [(valid_from, at, name) for name, valid_from, at in versions if valid_from <= moment]
        assert replayed.at(moment).version == (max(begun)[2] if begun else FILE.version)


@given(VERSIONS, st.integers(0, 50), st.integers(1, 20))
def test_an_announcement_changes_nothing_before_its_moment(
    versions: list[tuple[str, int, int]], now: int, ahead: int
) -> None:
    book = known(*versions)
    before = in_force(book, *range(now + ahead))
    book.add(Version("new", "", now + ahead, now, ""), lambda: listed("0.07", "new"))
    assert in_force(book, *range(now + ahead)) == before


def test_differences_of_two_lists() -> None:
    header = "country,operator,prefix,price,account,discount,carrier,cost"
    old = ["IT,,,0.08,,,sim,0.03", "IT,TIM,,0.04,,,,", "FR,,,0,,,,", ",,,,acme,5,,", "DE,,,1,,,,"]
    new = ["IT,,,0.09,,,sim,0.02", "FR,,,0.01,,,,", "FR,SFR,,0.03,,,,", ",,,,acme,7.5,,", "DE,,,1,,,,"]
    before, after = PriceList.parse([header, *old]), PriceList.parse([header, *new])
    assert isinstance(before, PriceList) and isinstance(after, PriceList)
    told = []
    for change in diff(before, after):
        row = change.before or change.after
        assert row
        told.append((change.kind, change.what, row[:4], change.percent))
    assert told == [
        ("prices", "changed", ("", "FR", "", ""), None),
        ("prices", "added", ("", "FR", "sfr", ""), None),
        ("prices", "changed", ("", "IT", "", ""), "+12.50"),
        ("prices", "removed", ("", "IT", "tim", ""), None),
        ("discounts", "changed", ("acme", 50_000, 0, 2**63 - 1), None),
        ("costs", "changed", ("sim", "IT", "", ""), "-33.33"),
    ]
    assert diff(before, before) == []
