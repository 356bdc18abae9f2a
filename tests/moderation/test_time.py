import random
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.moderation import LinkPolicy, Rules, Term

from . import labelled, speed

POLICY = LinkPolicy(
    blocked=("evil.com",), others="flag", shorteners="flag", protected=("paypal.com", "intesasanpaolo.it")
)
NESTED = [Term("ab" * times) for times in range(1, 6)] + [Term("a" * times) for times in range(1, 6)]
RULES = Rules([*labelled.rules().terms, *NESTED, Term("18+"), Term("aba", open_start=True, open_end=True)], POLICY)
MILLISECONDS = 100  # for 10,000 characters: 50 are promised, a third of this is measured, and CI may be slow
CHARACTERS = "aаàсe5$ix. -_*!|()[]/\\@:\u200b\u0301\u202e\u202cßﬁ赌博0148\n"
REPEATED = [
    "a", "a ", ". ", "ab", "ab ", "a b ", "a.b.", "455 ", "as s ", "casi no ", "c a s i n ", "c.a.s.i.n.",
    "casino", "casino ", "c4s1n0 ", "f*ck ", "*a", "@a", "$", "!|", "(", "()", "\\/", "vv", "rn", "\u200b",
    "\u202e", "\u202eonisac\u202c", "c\u0301", "\u0301", "a" + "\u0336" * 99, "ß", "ﷺ", "赌", "赌博", "a.", "a.com ",
    "http://", "http://a@", "paypa1.com ", "xn--a.com ", "xn--" + "a" * 50 + ".com ", "[.]", "[ . ", "\ud800",
    "il1|!I", "s 5 $ ", "a dot ", "a dot com ", "%65", "%E4%BD%A0", "a%2Ecom ", "a[.]com ", "каз1но ", "赌 博 ",
]  # fmt: skip


def milliseconds(text: str) -> float:
    """The best of three, for 10,000 characters, of processor time: a busy machine is not the matter here."""
    best = float("inf")
    for _ in range(3):
        started = time.process_time()
        RULES.find(text)
        best = min(best, time.process_time() - started)
    return best * 1_000 * 10_000 / max(len(text), 1_000)


@pytest.mark.parametrize("part", REPEATED, ids=ascii)
def test_no_repetition_is_slow(part: str) -> None:
    assert milliseconds((part * 10_000)[:10_000]) < MILLISECONDS


def test_no_mixture_is_slow() -> None:
    rng = random.Random(1)
    assert milliseconds("".join(rng.choices(CHARACTERS, k=100_000))) < MILLISECONDS
    assert (
        milliseconds(" ".join(rng.choices(("as", "s", "se", "x", "5ex", "a55", "an4", "cas", "ino", "b"), k=5_000)))
        < MILLISECONDS
    )
    assert milliseconds("a" * 50_000 + ".com") < MILLISECONDS


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example])
@given(
    st.one_of(
        st.text(st.characters(codec=None, exclude_categories=()), max_size=200),
        st.text(CHARACTERS, max_size=200),
        st.lists(st.sampled_from(REPEATED), max_size=40).map("".join),
    ),
    st.integers(1, 100_000),
)
def test_any_text_is_searched_in_time(part: str, length: int) -> None:
    text = (part * (length // len(part) + 1))[:length] if part else ""
    RULES.find("warm")
    started = time.process_time()
    hits = RULES.find(text)
    taken = time.process_time() - started
    assert all(0 <= hit.start < hit.end <= len(text) for hit in hits)
    assert taken * 1_000 < max(MILLISECONDS, 2 * MILLISECONDS * len(text) / 10_000)


def test_a_batch_is_fast() -> None:
    rng = random.Random(5)
    rules, batch = Rules(speed.terms(5_000, rng)), speed.texts(10_000, rng)
    speed.rate(rules, batch[:1_000])
    best = max(speed.rate(rules, batch) for _ in range(3))
    print(f"{best:,.0f} texts a second")
    assert best > 40_000  # over 150,000 on a core of its own; this bound is for a busy machine
