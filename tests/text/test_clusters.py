import time

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.text import PLAIN, Encoded, Measured, Wire, clusters, decode, encode, measure, non_gsm

FAMILY = "👨‍👩‍👧‍👦"
FLAG = "🇮🇹"
THUMB = "👍🏽"
KEYCAP = "1\ufe0f\u20e3"
ACCENTED = "q\u0301\u0323"
HANGUL = "\u1112\u1161\u11ab"
DEVANAGARI = "क्षि"
TAMIL = "நி"

CLUSTERS = [FAMILY, FLAG, THUMB, KEYCAP, ACCENTED, HANGUL, DEVANAGARI, TAMIL]
JOINING = "\u200d\ufe0f\u0301\u0323\u094d\u093f\u0e33\u0600\u1100\u1161\u11a8가각🇦🇧🏽👩❤a\r\nक中"


def utf16_length(text: str) -> int:
    return len(text.encode("utf-16-be")) // 2


def pieces(text: str, wire: Wire = PLAIN, max_parts: int = 255) -> list[str]:
    found = encode(text, wire=wire, max_parts=max_parts)
    assert isinstance(found, Encoded), found
    alone = [Encoded(found.encoding, part.characters, [part], 1, found.locking, found.single) for part in found.parts]
    assert decode(found) == text
    return [decode(part) for part in alone]


@settings(deadline=None)
@given(st.text(st.sampled_from(JOINING), max_size=60) | st.text(max_size=60))
def test_borders_are_those_of_unicode(text: str) -> None:
    found = clusters.borders(text, len)
    assert [text[start:end] for start, end in zip([0, *found], found, strict=False)] == regex.findall(r"\X", text)


@settings(deadline=None)
@given(st.text(st.sampled_from(JOINING), max_size=40) | st.text(max_size=40))
def test_a_plain_text_has_a_border_after_every_character(text: str) -> None:
    if clusters.plain(text):
        assert clusters.borders(text, len) == list(range(1, len(text) + 1))


def test_what_is_passed_over_quickly_never_joins() -> None:
    common = [chr(code) for code in range(0xD800) if not clusters._UNCOMMON.search(chr(code))]
    common += [chr(code) for code in range(0xE000, 0x10000) if not clusters._UNCOMMON.search(chr(code))]
    assert len(common) > 30_000
    assert clusters._JOINING.search("".join(common)) is None


@pytest.mark.parametrize("cluster", CLUSTERS)
@pytest.mark.parametrize("before", range(55, 67))
def test_a_cluster_moves_whole_to_the_next_part_where_that_costs_none(cluster: str, before: int) -> None:
    text = "中" * before + cluster + "中" * 20
    parts = pieces(text)
    assert len(parts) == 2
    assert regex.findall(r"\X", parts[0]) + regex.findall(r"\X", parts[1]) == regex.findall(r"\X", text)
    assert cluster in parts[0] or parts[1].startswith(cluster)


def test_cr_and_lf_stay_together_in_gsm7() -> None:
    assert pieces("a" * 152 + "\r\n" + "a" * 20) == ["a" * 152, "\r\n" + "a" * 20]
    assert pieces("€" * 76 + "\r\n" + "a" * 20) == ["€" * 76, "\r\n" + "a" * 20]


def test_a_cluster_is_cut_where_keeping_it_would_cost_a_part() -> None:
    text = "a" * 152 + "\r\n" + "a" * 152
    assert [len(part) for part in pieces(text)] == [153, 153]
    text = "中" * 61 + FAMILY + "中" * 62
    assert utf16_length(text) == 2 * 67
    assert len(pieces(text)) == 2


def test_a_cluster_may_be_cut_early_and_the_next_kept() -> None:
    # One unit to spare in three parts: enough to keep the second flag whole, not the first, which needs two.
    text = "中" * 65 + FLAG + "中" * 64 + FLAG + "中" * 62
    assert utf16_length(text) == 199
    assert [utf16_length(part) for part in pieces(text)] == [65, 67, 67]


def test_a_cluster_longer_than_a_part_is_cut() -> None:
    long = "a" + "\u0301" * 100
    assert [len(part) for part in pieces(long)] == [67, 34]
    assert [len(part) for part in pieces("中" * 10 + long)] == [67, 44]
    assert [len(part) for part in pieces("中" * 40 + long)] == [40, 67, 34]


def test_clusters_of_a_national_alphabet_stay_whole() -> None:
    hindi = Wire((6,))
    assert [len(part) for part in pieces("अ" * 148 + "नि" + "अ" * 100, hindi)] == [148, 102]
    assert [len(part) for part in pieces("अ" * 147 + "नि" + "अ" * 101, hindi)] == [149, 101]


TEXTS = st.lists(st.sampled_from([*CLUSTERS, "中", "a", "\r\n", "€", "😀", " "]), min_size=1, max_size=300).map("".join)
WIRES = st.sampled_from([PLAIN, Wire((), "16-bit"), Wire((1, 3, 6, 11)), Wire((6,), "16-bit"), Wire((), "sar")])


@settings(deadline=None)
@given(TEXTS, WIRES)
def test_keeping_clusters_never_costs_a_part(text: str, wire: Wire) -> None:
    found = encode(text, wire=wire, max_parts=255)
    assert isinstance(found, Encoded), found
    measured = measure(text, wire=wire, max_parts=255)
    assert isinstance(measured, Measured)
    assert (found.count, len(found.parts)) == (measured.count, measured.count)
    assert decode(found) == text
    assert all(part.characters and len(part.udh) + len(part.payload) <= 140 for part in found.parts)


@settings(deadline=None)
@given(TEXTS)
def test_each_part_ends_at_the_last_border_that_costs_no_part(text: str) -> None:
    units = text.encode("utf-16-be")
    borders = clusters.borders(text, utf16_length)

    def full(start: int) -> int:
        """Where a part from `start` ends if filled; found by looking at every unit."""
        end = min(start + 67, len(units) // 2)
        return end - (end < len(units) // 2 and 0xD8 <= units[2 * end - 2] < 0xDC)

    def needed(start: int) -> int:
        count = 0
        while start < len(units) // 2:
            start, count = full(start), count + 1
        return count

    parts = [utf16_length(piece) for piece in pieces(text)]
    if len(parts) == 1 or non_gsm(text) == []:
        return
    start = 0
    for number, part in enumerate(parts, 1):
        border = max((border for border in borders if start < border <= full(start)), default=start)
        kept = border > start and needed(border) <= len(parts) - number
        assert part == (border if kept else full(start)) - start
        start += part


@pytest.mark.parametrize("cluster", [*CLUSTERS, "🇮", "\u0301", "\u0600", "\r\n"])
def test_clusters_by_the_thousand_take_milliseconds(cluster: str) -> None:
    text = cluster * (16_500 // utf16_length(cluster))
    started = time.perf_counter()
    assert isinstance(encode(text, max_parts=255), Encoded)
    assert time.perf_counter() - started < 1
