import random
import string

import pytest

from .labelled import entries, judge, rules, told

ALPHABETS = (
    string.ascii_uppercase + string.digits,
    string.ascii_lowercase + string.digits,
    string.ascii_letters + string.digits,
    "0123456789ABCDEF",
    "0123456789abcdef",
)
TEMPLATES = (
    "Your code is {}.",
    "{} is your verification code",
    "Il tuo codice: {}. Non condividerlo",
    "G-{}",
    "Code {}-{}, valid 5 min",
    "OTP: {} ref #{}",
)


@pytest.mark.parametrize("names", [("evasions.jsonl", "innocent.jsonl"), ("held-out.jsonl",)], ids=str)
def test_evasions_are_seen_and_innocent_texts_pass(names: tuple[str, ...]) -> None:
    outcome = judge(rules(), entries(*names))
    print(told(outcome))
    assert outcome.recall >= 0.99, told(outcome)
    assert outcome.false_positives <= 0.005, told(outcome)


def test_the_sets_are_large_enough() -> None:
    labels = [entry.label for entry in entries("evasions.jsonl", "innocent.jsonl")]
    assert labels.count("evasion") >= 300 <= labels.count("innocent")
    assert all(entry.source for entry in entries("evasions.jsonl", "innocent.jsonl", "held-out.jsonl"))


def test_random_codes_are_no_terms() -> None:
    rng = random.Random(4)
    texts = []
    for _ in range(10_000):
        alphabet, length = rng.choice(ALPHABETS), rng.choice((4, 5, 6, 6, 6, 8, 10))
        codes = ["".join(rng.choices(alphabet, k=length)) for _ in range(2)]
        texts.append(rng.choice(TEMPLATES).format(*codes))
    hits = [(text, found) for text, found in zip(texts, rules().find_all(texts), strict=True) if found]
    assert len(hits) <= 1, hits
