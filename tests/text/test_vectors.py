"""Two independent oracles, asked about every text of a corpus (`make vectors` asks them anew).

`splitter` (npm split-sms) fills each part; `calculator` (npm sms-segments-calculator) keeps grapheme clusters whole at
any cost. Where every character is its own cluster, all three cut at the same places. Where not, they may differ on
two classes of texts, and only on these:

- Kept at a price: the calculator keeps a cluster whole although the text then needs a part more, which the sender
  would pay. Ours are as few as the splitter's, and one of them ends inside a cluster.
- Overfilled: a cluster longer than a part (two hundred accents) stays whole in a part of more than 140 octets, which no
  network carries. The splitter counts as we do.
"""

import json
from collections import Counter
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from vectors import corpus

from pipeline.text import UCS2, Encoded, Measured, clusters, decode, encode, measure

VECTORS = Path(__file__).parent / "vectors" / "vectors.ndjson"


def told() -> list[dict[str, Any]]:
    with VECTORS.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


ANSWERS = told()


def encoded(text: str) -> Encoded:
    found = encode(text, max_parts=255)
    assert isinstance(found, Encoded), found
    return found


def test_the_vectors_are_those_of_the_corpus() -> None:
    texts = [(kind, [list(piece) for piece in pieces]) for kind, pieces in corpus.texts()]
    assert [(answer["class"], answer["text"]) for answer in ANSWERS] == texts
    assert len(texts) >= 2_000
    assert len({corpus.joined(pieces) for _, pieces in corpus.texts()}) >= 2_000


@pytest.mark.parametrize("kind", [kind.__name__ for kind in corpus.CLASSES])
def test_oracles_agree(kind: str) -> None:
    for answer in ANSWERS:
        if answer["class"] != kind:
            continue
        text = corpus.joined(answer["text"])
        ours = encoded(text)
        assert decode(ours) == text
        assert measure(text, max_parts=255) == Measured(ours.encoding, ours.characters, ours.count)
        parts = [part.characters for part in ours.parts]
        for oracle in ("splitter", "calculator"):
            encoding, units = answer[oracle]
            assert (encoding, sum(units)) == (ours.encoding, ours.characters), (oracle, text)
            if clusters.plain(text):
                assert units == parts, (oracle, text)
        assert len(answer["splitter"][1]) == ours.count, text
        theirs = answer["calculator"][1]
        if len(theirs) > ours.count:
            assert kept_at_a_price(text, ours), text
        elif len(theirs) < ours.count:
            assert overfilled(theirs), text


def kept_at_a_price(text: str, ours: Encoded) -> bool:
    """Ours ends a part inside a cluster. The fewest parts there can be are those of `splitter`, which fills each."""
    whole = clusters.borders(text, lambda cluster: len(cluster.encode("utf-16-be")) // 2)
    ends = accumulate(part.characters for part in ours.parts)
    return ours.encoding == UCS2 and not set(ends) <= set(whole)


def overfilled(theirs: list[int]) -> bool:
    """More UTF-16 code units in a part than 140 octets hold behind the header."""
    return max(theirs) > 67


def test_differences_are_few_and_only_where_clusters_are() -> None:
    differing = Counter(a["class"] for a in ANSWERS if len(a["calculator"][1]) != len(a["splitter"][1]))
    assert set(differing) == {"clusters", "languages", "words"}
    assert sum(differing.values()) < len(ANSWERS) * 0.02
