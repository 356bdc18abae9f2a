import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.billing import PriceList
from pipeline.billing.price_format import Document, read_json, to_document
from pipeline.billing.price_rows import BEGIN, END, Discount, Rate, Rows, format_time, parse_time
from schemas.errors import Error

HEADER = "country,operator,prefix,price"
FULL = f"{HEADER},account,discount,carrier,cost,valid_from,valid_until"


def faults(*lines: str) -> list[str]:
    found = PriceList.parse(lines)
    assert isinstance(found, list)
    return found


def json_faults(document: Any) -> list[str]:
    found = PriceList.read(document if isinstance(document, str) else json.dumps(document))
    assert isinstance(found, list)
    return found


def test_one_fault_refuses_the_list_and_every_fault_has_its_line() -> None:
    found = faults(
        "# prices",
        HEADER,
        "IT,,,0.05",
        "IT,,,0.06",
        "XX,,,0.05",
        "it,,,0.05",
        "FR,,,-0.05",
        "FR,,,5e-2",
        "FR,,,0.0000001",
        "FR,,,",
        "FR,,49,0.05",
        "FR,,+33,0.05",
        "FR,0.05",
        "GB,,,0.05",
        "GB,o2,,0.05",
        "GB,O2,,0.05",
        "DE,,,NaN",
        "DE,,,0,05",
    )
    assert [fault.split(":")[0] for fault in found] == [f"line {n}" for n in (4, *range(5, 14), 16, 17, 18)]
    assert "stands in line 3" in found[0] and "stands in line 15" in found[-3]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("IT,,,-0.05,,,,,,", "negative price -0.05"),
        ("IT,,,-0,,,,,,", "negative price -0"),
        ("IT,,,1e-2,,,,,,", '"1e-2" is not a decimal amount'),
        ("IT,,,1E2,,,,,,", '"1E2" is not a decimal amount'),
        ("IT,,,nan,,,,,,", '"nan" is not a decimal amount'),
        ("IT,,,inf,,,,,,", '"inf" is not a decimal amount'),
        ("IT,,,0.0500001,,,,,,", "at most 6 decimals"),
        ("IT,,,,,,,,,", '"" is not a decimal amount'),
        ("ZZ,,,0.05,,,,,,", 'unknown country "ZZ"'),
        (",,,0.05,,,,,,", 'unknown country ""'),
        ("IT,,33,0.05,,,,,,", "prefix 33 does not begin with 39"),
        ("IT,,39 3,0.05,,,,,,", "is not of digits"),
        ("IT,234-15,,0.05,,,,,,", "234-15 is a network of GB"),
        ("IT,,,0.05,a b,,,,,", 'account "a b"'),
        ("IT,,,0.05,acme,5,,,,", "country must be empty: the row is a discount"),
        (",,,,,5,,,,", 'account ""'),
        (",,,,acme,5%,,,,", '"5%" is not a decimal percentage'),
        (",,,,acme,100.1,,,,", "from 0 to 100"),
        (",,,,acme,-5,,,,", "from 0 to 100"),
        (",,,,acme,1e1,,,,", "is not a decimal percentage"),
        (",,,,acme,5.00001,,,,", "at most 4 decimals"),
        ("IT,,,,,,sim,,,", 'cost "" is not'),
        ("IT,,,,,,,0.03,,", 'carrier ""'),
        ("IT,,,,,,sim,-0.03,,", "negative cost -0.03"),
        ("IT,,,0.05,acme,,sim,0.03,,", "account must be empty"),
        ("IT,,,0.05,,,,,yesterday,", 'valid_from "yesterday" is not a date'),
        ("IT,,,0.05,,,,,2026-02-30,", 'valid_from "2026-02-30"'),
        ("IT,,,0.05,,,,,2026-01-01T10:00:00,", "is not a date"),
        ("IT,,,0.05,,,,,2026-01-02,2026-01-02", "ends before it begins"),
        ("IT,,,0.05,,,,,1969-12-31,", "of 1970 to 9999"),
        ('IT,"TIM,,0.05,,,,,,', "not CSV"),
        ("IT,,,0.05", "4 columns instead of 10"),
    ],
)
def test_what_a_row_may_not_say(row: str, words: str) -> None:
    (fault,) = [fault for fault in faults(FULL, "DE,,,0.05,,,,,,", "", row) if words in fault]
    assert fault.startswith("line 4: ")


@pytest.mark.parametrize(
    ("rows", "line", "words"),
    [
        (["IT,TIM,,0.05,,,,,,"], 2, "none for the country"),
        (["IT,,39333,0.05,,,,,,"], 2, "none for the country"),
        (["IT,TIM,,0.05,acme,,,,,"], 2, "none for the country"),
        (["IT,,,0.05,zeta,,,,,", "IT,TIM,,0.05,acme,,,,,"], 3, "none for the country"),
        (["IT,TIM,,0.05,,,,,,", "IT,,,0.06,,,,,2026-01-01,"], 2, "none for the country at 1970"),
        (["IT,TIM,,0.05,,,,,,", "IT,,,0.06,,,,,,2026-01-01"], 2, "none for the country at 2026-01-01"),
        (["IT,,,0.05,,,,,,2026-01-01", "IT,,,0.06,,,,,2026-01-02,"], 3, "gap: line 2 ends at 2026-01-01"),
        (["IT,,,0.06,,,,,2026-01-02,", "IT,,,0.05,,,,,,2026-01-01"], 2, "gap: line 3 ends at 2026-01-01"),
        (["IT,,,0.05,,,,,,2026-01-02", "IT,,,0.06,,,,,2026-01-01,"], 3, "at the same time, stands in line 2"),
        (["IT,,,0.05,,,,,,", "IT,,,0.06,,,,,2026-01-01,2026-01-02"], 3, "at the same time, stands in line 2"),
        (["IT,,,0.05,,,,,,", "IT,,,0.05,,,,,,"], 3, "the same key stands in line 2"),
        (["IT,,,0.05,acme,,,,,", "IT,,,0.05,acme,,,,,"], 3, "the same key stands in line 2"),
        (["IT,,,0.05,,,sim,0.03,,", "IT,,,,,,sim,0.03,,"], 3, "the same key stands in line 2"),
        ([",,,,acme,5,,,,", ",,,,acme,6,,,2026-01-01,"], 3, "at the same time, stands in line 2"),
        (["IT,,,0.05,,,,,,", "IT,222-01,,0.05,,,,,,", "IT,tim,,0.05,,,,,,"], 4, "the same key stands in line 3"),
    ],
)
def test_what_rows_may_not_say_together(rows: list[str], line: int, words: str) -> None:
    (fault,) = faults(FULL, *rows)
    assert fault.startswith(f"line {line}: ")
    assert words in fault


@pytest.mark.parametrize(
    "rows",
    [
        ["IT,,,0.05,,,,,,2026-01-01", "IT,,,0.06,,,,,2026-01-01T01:00:00+01:00,"],
        ["IT,,,0.05,,,,,,2026-01-01", "IT,TIM,,0.05,,,,,,", "IT,,,0.06,,,,,2026-01-01,"],
        ["IT,,,0.05,acme,,,,,", "IT,,,0.05,,,,,,", "IT,,,,,,sim,0.03,,", "IT,,,,,,telco,0.03,,"],
        ["IT,TIM,,0.05,acme,,,,,", "IT,,,0.05,,,,,,"],
        ["IT,,,0.05,,,,,,", "IT,,,0.05,,,,,,".replace("IT", "FR"), "IT,TIM,,,,,sim,0.03,,"],
        ["IT,,,0.05,,,,,,", ",,,,acme,5,,,,2026-01-01", ",,,,acme,5,,,2026-02-01,"],
    ],
)
def test_validities_that_meet_are_fine(rows: list[str]) -> None:
    found = PriceList.parse([FULL, *rows])
    assert isinstance(found, PriceList), found


def test_what_seems_missing_beside_rows_that_cannot_be_read_is_not_told() -> None:
    found = faults(HEADER, "FR,,,-0.05", "FR,SFR,,0.05", "DE,O2,,0.05")
    assert [fault.split(":")[0] for fault in found] == ["line 2", "line 4"]


@pytest.mark.parametrize("lines", [[], ["# nothing"], ["IT,,,0.05"], ["country,price", "IT,0.05"]])
def test_the_header_is_needed(lines: list[str]) -> None:
    (fault,) = faults(*lines)
    assert "header" in fault
    assert fault.startswith("line 1:")


@pytest.mark.parametrize("column", ["tariff", "", "Account", "price"])
def test_an_unknown_column_and_one_that_is_there_twice(column: str) -> None:
    (fault,) = faults("# ours", f"{HEADER},{column}", "IT,,,0.05,x")
    assert fault.startswith("line 2: ")
    assert "twice" in fault or f"unknown column {column}" in fault


def test_columns_in_any_order() -> None:
    found = PriceList.parse(["price,valid_until,prefix,operator,country", "0.05,,,TIM,IT", "0.06,,,,IT"])
    assert isinstance(found, PriceList)
    assert found.price("IT", "TIM") == 50_000


def test_quotes_a_byte_order_mark_and_windows_line_ends_are_read() -> None:
    lines = ["\ufeffcountry,operator,prefix,price\r\n", 'IT,"TIM, Inc",,0.04\r\n', "IT,,,0.05\r\n"]
    for found in (PriceList.parse(lines), PriceList.read("".join(lines))):
        assert isinstance(found, PriceList)
        assert found.price("IT", "TIM, Inc") == 40_000


def test_lines_end_where_an_editor_sees_their_end() -> None:
    assert faults(*f"{HEADER}\nIT,a\x0bb,,0.05\nIT,,,x".split("\n"))[-1].startswith("line 3: ")
    found = PriceList.read(f"{HEADER}\r\n# a\u2028b\x0c\r\nIT,,,x")
    assert isinstance(found, list) and found[0].startswith("line 3: ")


PRICE = {"country": "IT", "price": "0.05"}


def test_a_list_in_json() -> None:
    document = {
        "name": "Summer",
        "validFrom": "2026-07-01",
        "prices": [
            PRICE | {"validUntil": "2026-08-01"},
            PRICE | {"price": "0.06", "validFrom": "2026-08-01T00:00:00Z"},
            PRICE | {"operator": "222-01", "prefix": "39333", "price": "0.04", "account": "acme"},
        ],
        "discounts": [{"account": "acme", "percent": "12.5", "validFrom": "2026-08-01"}],
        "costs": [{"carrier": "sim", "country": "IT", "cost": "0.03"}],
    }
    found = PriceList.read("\ufeff\n" + json.dumps(document))
    assert isinstance(found, PriceList), found
    assert (found.name, found.valid_from) == ("Summer", 1_782_864_000_000)
    assert found.price("IT", "TIM", "+393331234567", account="acme") == 40_000
    assert found.cost("sim", "IT", "") == 30_000
    assert found.discount("acme", 1_785_542_400_000) == 125_000


@pytest.mark.parametrize(
    ("element", "path", "words"),
    [
        (PRICE | {"price": "-0.05"}, "prices[1].price", "negative"),
        (PRICE | {"price": "5e-2"}, "prices[1].price", "not a decimal amount"),
        (PRICE | {"price": "0.0000001"}, "prices[1].price", "at most 6 decimals"),
        (PRICE | {"price": "NaN"}, "prices[1].price", "not a decimal amount"),
        (PRICE | {"price": 0.05}, "prices[1].price", 'a string is wanted, such as "0.0500"'),
        (PRICE | {"price": 1}, "prices[1].price", "a string is wanted"),
        (PRICE | {"price": float("nan")}, "prices[1].price", "a string is wanted"),
        (PRICE | {"validUntil": None}, "prices[1].validUntil", "a string is wanted"),
        (PRICE | {"country": "ZZ"}, "prices[1].country", "unknown country"),
        ({"price": "0.05"}, "prices[1].country", "unknown country"),
        (PRICE | {"prefix": "33"}, "prices[1].prefix", "does not begin with 39"),
        (PRICE | {"cost": "0.03"}, "prices[1].cost", "unknown field"),
        (PRICE | {"validFrom": "soon"}, "prices[1].validFrom", "not a date"),
        (PRICE | {"country": "DE"}, "prices[1]", "the same key stands in prices[0]"),
        (PRICE | {"operator": "TIM"}, "prices[1]", "none for the country"),
        (["IT", "0.05"], "prices[1]", "an object is wanted"),
    ],
)
def test_faults_in_json_have_their_path(element: Any, path: str, words: str) -> None:
    (fault,) = json_faults({"prices": [{"country": "DE", "price": "0.05"}, element]})
    assert fault.startswith(f"{path}: ")
    assert words in fault


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ('{"prices": [', "line 1: "),
        ('{"prices":\n [}', "line 2: "),
        ('{"a": ' * 200_000, "line 1: "),
        ("{}", "prices: is missing"),
        ('{"prices": {}}', "prices: a list is wanted"),
        ('{"prices": [], "price": []}', "price: unknown field"),
        ('{"prices": [], "name": 5}', "name: a string is wanted"),
        ('{"prices": [], "validFrom": 5}', "validFrom: a string is wanted"),
        ('{"prices": [], "validFrom": "x"}', 'validFrom: "x" is not a date'),
        ('{"prices": [], "prices": []}', "prices: stands there twice"),
        ('{"prices": [{"country": "IT", "price": "1", "price": "2"}]}', "prices[0].price: stands there twice"),
        ('{"prices": [], "discounts": [{"account": "a", "percent": 5}]}', "discounts[0].percent: a string is wanted"),
        ('{"prices": [], "discounts": [{"account": "a", "percent": "x"}]}', "discounts[0].percent: discount"),
        ('{"prices": [], "costs": [{"country": "IT", "cost": "1"}]}', "costs[0].carrier: carrier"),
    ],
)
def test_json_that_is_no_list(text: str, start: str) -> None:
    (fault,) = json_faults(text)
    assert fault.startswith(start)


def test_all_faults_of_json_in_their_order() -> None:
    document = {"prices": [PRICE, PRICE, PRICE | {"price": "x", "country": "y"}], "costs": [5]}
    paths = [fault.split(":")[0] for fault in json_faults(document)]
    assert paths == ["prices[1]", "prices[2].country", "prices[2].price", "costs[0]"]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("1970-01-01", 0),
        ("2026-07-01", 1_782_864_000_000),
        ("2026-07-01T02:00:00.250+02:00", 1_782_864_000_250),
        ("2026-07-01t00:00:00z", 1_782_864_000_000),
        ("2026-07-01T00:00:00", None),
        ("2026-07-01T00:00:00.0009Z", 1_782_864_000_000),
        ("2026-07-01T00:00:00.250999999Z", 1_782_864_000_250),
        ("2026-07-01T00:00:00.0123456789Z", None),
        ("20260701", None),
        ("2026-W27-3", None),
        ("２０２６-07-01", None),
        ("", None),
    ],
)
def test_times(text: str, wanted: int | None) -> None:
    found = parse_time(text)
    assert isinstance(found, Error) if wanted is None else found == wanted


@given(st.integers(0, 253_402_300_799_999))
def test_times_come_back(unix_ms: int) -> None:
    assert parse_time(format_time(unix_ms)) == unix_ms


PREFIXES = {"IT": ["", "39", "39333"], "FR": ["", "336"]}
SPANS = st.sampled_from([(BEGIN, END), (BEGIN, 1000), (1000, END), (1000, 253_402_300_799_999)])
RATE = st.sampled_from(["IT", "FR"]).flatmap(
    lambda country: st.builds(
        lambda owner, name, prefix, amount, span: Rate(owner, country, name, prefix, amount, *span),
        st.sampled_from(["acme", "a.b-c_d"]),
        st.sampled_from(["", "tim", 'o"2, ltd', "20801", "wind"]),
        st.sampled_from(PREFIXES[country]),
        st.integers(0, 10**17),
        SPANS,
    )
)
OFF = st.builds(lambda account, off, span: Discount(account, off, *span), st.just("acme"), st.integers(0, 10**6), SPANS)


@given(st.lists(RATE, unique_by=lambda row: row[:4]), st.lists(OFF, max_size=1))
def test_a_list_written_and_read_is_the_same(rates: list[Rate], discounts: list[Discount]) -> None:
    general = [Rate("", country, "", "", 5) for country in PREFIXES]
    rates = [rate for rate in rates if rate.operator != "20801"]  # known by its name
    document = Document("ours", 5_000, Rows((*general, *rates), tuple(discounts), tuple(rates)))
    assert read_json(json.dumps(to_document(document))) == document


@given(st.text(max_size=200))
def test_whatever_the_text_the_answer_is_a_list_or_faults(text: str) -> None:
    for found in (PriceList.read(text), PriceList.read("{" + text), PriceList.read(f"{FULL}\n{text}")):
        assert isinstance(found, PriceList) or all(": " in fault for fault in found)
