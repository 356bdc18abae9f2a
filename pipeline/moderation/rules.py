"""What is prohibited, compiled: terms and links. One pass over a batch of texts, whatever the number of terms."""

import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

import msgspec
from ahocorasick_rs import AhoCorasick

from pipeline.moderation.characters import DIGIT, LETTER, SOUNDS, UNSPACED, class_of, kind
from pipeline.moderation.domains import Domains, LinkPolicy
from pipeline.moderation.judgement import FOLDINGS, judge
from pipeline.moderation.reading import Reading, Word, is_start, read, taken
from pipeline.moderation.stream import Stream, hold_signs, lay, stream
from pipeline.moderation.terms import Severity, Term
from pipeline.moderation.variants import Masks, hints, variants
from pipeline.moderation.written import Written

_CHUNK = 512  # texts gone over at once: the arrays stay in the processor's cache
# What reading candidates in one text may cost, in characters gone over: more than any text needs, unless its candidates
# overlap manifold, as those of terms nested in one another do.
_COSTS = 3072, 0.3  # at least, and for each character of the text
_COSTS_OF_A_VARIANT = 3072, 0.5
_COST_OF_A_READING = 24
_MOST_BEYOND = 6_000  # characters; once these costs are spent, for terms that stand there undisguised
_CONTEXT = 12  # characters beside a candidate that can decide whether it is one
_LEAST_BY_SOUND = 5  # letters
_RUN_ENDS = 64  # how far into a run of one letter a term's first letter is looked for, from either end


class Hit(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A term (or a domain) and where it stands: `text[start:end]`, in code points, its disguise included.

    `folding`: what revealed it, such as `case`, `leet, spacing`; `exact` for the term as the list writes it.
    `kind`: `term`, or `domain`, `shortener`, `look-alike`, `link`. `countries`: where it is prohibited; none is all.
    """

    term: str
    start: int
    end: int
    severity: Severity = "block"
    countries: tuple[str, ...] = ()
    folding: str = "exact"
    kind: str = "term"


class Rules:
    """Terms and link policy, ready to search with. Never changes; safe to share."""

    def __init__(self, terms: Iterable[Term] = (), links: LinkPolicy | None = None) -> None:
        self.terms = tuple(terms)
        self._links = Domains(links) if links and links != LinkPolicy() else None
        words = [Word.of(term) for term in self.terms]
        self._written = Written(word.term for word in words if not _is_plain(word.term.text))
        words = [word for word in words if word.letters and _is_foldable(word.term.text)]
        self._masks = Masks(words)
        by_pattern: dict[str, list[Word]] = {}
        for word in words:
            for pattern in _patterns(word.term.text):
                by_pattern.setdefault(pattern, []).append(word)
        # Terms that are open at an end come last: a match from `_bounded` on need not begin and end with a word.
        patterns = sorted(by_pattern, key=lambda pattern: any(map(_is_open, by_pattern[pattern])))
        self._bounded = sum(not any(map(_is_open, by_pattern[pattern])) for pattern in patterns)
        self._words = [by_pattern[pattern] for pattern in patterns]
        self._automaton = AhoCorasick(patterns) if patterns else None

    def __len__(self) -> int:
        return len(self.terms)

    def find(self, text: str, account: str = "") -> list[Hit]:
        """Every hit in `text` for a message of `account`, in the order of their ends."""
        return self.find_all((text,), account)[0]

    def find_all(self, texts: Sequence[str], account: str = "") -> list[list[Hit]]:
        """For each text its hits, in the order of their ends. Of overlapping hits of one term the plainest is kept, and
        of very many not all are told.

        Time grows with the length of the texts: under 50 ms for 10,000 characters, whatever they are.
        """
        found: list[list[Hit]] = [[] for _ in texts]
        for first in range(0, len(texts), _CHUNK):
            chunk = texts[first : first + _CHUNK]
            for number, hit in self._hits(chunk, account):
                found[first + number].append(hit)
        for number, hits in enumerate(found):
            if hits:
                found[number] = _sorted(hits)
        return found

    def _hits(self, texts: Sequence[str], account: str) -> Iterator[tuple[int, Hit]]:
        for number, term, start, end in self._written.find(texts):
            yield from _reported(number, term, texts[number], start, end, [], account)
        if self._automaton:
            yield from self._disguised(texts, account)
        if self._links:
            for number, text in enumerate(texts):
                for link in self._links.find(text):
                    yield number, Hit(link.host, link.start, link.end, link.severity, (), link.folding, link.kind)

    def _disguised(self, texts: Sequence[str], account: str) -> Iterator[tuple[int, Hit]]:
        batch = lay(texts)
        for number, word, reading, names in self._readings(texts, stream(batch, signs=False), batch.offsets):
            yield from _reported(number, word.term, texts[number], reading.start, reading.end, names, account)
        if signed := hold_signs(batch):
            chosen = [texts[number] for number in signed]
            again = lay(chosen)
            for at, word, reading, names in self._readings(chosen, stream(again, signs=True), again.offsets):
                yield from _reported(signed[at], word.term, chosen[at], reading.start, reading.end, names, account)
        masked, varied = hints(texts, batch.offsets)
        for number in masked:
            for word, start, end in self._masks.find(texts[number]):
                yield from _reported(number, word.term, texts[number], start, end, ["masked"], account)
        if varied:
            yield from self._varied(texts, varied, account)

    def _varied(self, texts: Sequence[str], numbers: list[int], account: str) -> Iterator[tuple[int, Hit]]:
        varied = [(number, variant) for number in numbers for variant in variants(texts[number])]
        if not varied:
            return
        chosen = [variant.text for _, variant in varied]
        batch = lay(chosen)
        for signs in (False, True):
            for at, word, reading, names in self._readings(
                chosen, stream(batch, signs=signs), batch.offsets, _COSTS_OF_A_VARIANT
            ):
                number, variant = varied[at]
                if variant.shows(reading.start, reading.end, len(word.letters)):
                    start, end = variant.span(reading.start, reading.end)
                    names = [name for name in FOLDINGS if name in names or name == variant.reveals]
                    yield from _reported(number, word.term, texts[number], start, end, names, account)

    def _readings(
        self, texts: Sequence[str], letters: Stream, offsets: list[int], costs: tuple[float, float] = _COSTS
    ) -> Iterator[tuple[int, Word, Reading, list[str]]]:
        """Every term that a text truly holds, of the many that the stream suggests: text, term, how, what shows it."""
        assert self._automaton
        starts, ends, bounded = letters.starts, letters.ends, self._bounded
        budgets = [costs[0] + costs[1] * len(text) for text in texts]
        refused: set[tuple[Word, int, int, str]] = set()  # what is repeated in a text is read once
        for pattern, begin, end in self._automaton.find_matches_as_indexes(letters.letters, overlapping=True):
            if pattern < bounded and not (starts[begin] and ends[end - 1]):
                continue
            first, last = int(letters.first[begin]), int(letters.last[end - 1])
            number = bisect_right(offsets, first) - 1
            text, offset = texts[number], offsets[number]
            if budgets[number] <= 0 and not _is_written(text, first - offset, last - offset + 1, self._words[pattern]):
                continue
            around = text[max(0, first - offset - _CONTEXT) : last - offset + 1 + _CONTEXT]
            for word in self._words[pattern]:
                candidate = word, min(first - offset, _CONTEXT), last - first, around
                if candidate in refused or budgets[number] < -_MOST_BEYOND:
                    continue
                budgets[number] -= _COST_OF_A_READING + last - first
                run = range(first - offset, int(letters.last[begin]) - offset + 1)
                if found := _read_run(text, run, word):
                    yield number, word, *found
                else:
                    refused.add(candidate)


def _is_written(text: str, start: int, end: int, words: list[Word]) -> bool:
    length = end - start
    return any(length == len(word.term.text) and text[start:end].lower() == word.term.text.lower() for word in words)


def _read_run(text: str, run: range, word: Word) -> tuple[Reading, list[str]] | None:
    """Reads from where a word begins in the run of its first letter: the last such place, else the first."""
    for places in (reversed(run[-_RUN_ENDS:]), run[:_RUN_ENDS]):
        for place in places:
            if taken(text[place], word.letters, 0) and (word.term.open_start or is_start(text, place, word)):
                reading = read(text, place, word)
                names = judge(text, word, reading) if reading else None
                if reading and names is not None:
                    return reading, names
                break
    return None


def _reported(
    number: int, term: Term, text: str, start: int, end: int, names: list[str], account: str
) -> Iterator[tuple[int, Hit]]:
    if not term.accounts or account in term.accounts:
        folding = ", ".join(names) or ("exact" if text[start:end] == term.text else "case")
        yield number, Hit(term.text, start, end, term.severity, term.countries, folding)


def _sorted(hits: list[Hit]) -> list[Hit]:
    """By end and start, and once each: a term seen in several ways at one place is told as the plainest."""
    kept: dict[tuple[str, str, tuple[str, ...], str], list[Hit]] = {}
    for hit in hits:
        same = kept.setdefault((hit.term, hit.severity, hit.countries, hit.kind), [])
        if not any(hit.start < other.end and other.start < hit.end for other in same[-16:]):
            same.append(hit)
    return sorted((hit for same in kept.values() for hit in same), key=lambda hit: (hit.end, hit.start))


def _patterns(text: str) -> set[str]:
    """The term in the stream's letters, in small letters and in capitals, which may look like others: Greek ν is a v,
    its capital an N.
    """
    forms = (
        unicodedata.normalize("NFC", form) for form in (text, text.lower(), text.upper(), text.title(), text.casefold())
    )
    patterns = {"".join(map(class_of, form)) for form in forms} | set(_by_sound(text.lower()))
    return {"".join(letter for letter, _ in groupby(pattern)) for pattern in patterns} - {""}


def _by_sound(text: str) -> Iterator[str]:
    """The patterns of a longer term in another script with one of its letters written in Latin by the sound (`каzино`),
    or as a digit (`каз1но`). Two at once would be too many patterns.
    """
    if len(text) < _LEAST_BY_SOUND:
        return
    for exchanged in sorted(SOUNDS.keys() & set(text)):
        latin = class_of(SOUNDS[exchanged])
        for form in (text, text.upper()):
            yield "".join(latin if c.lower() == exchanged else class_of(c) for c in form)


def _is_open(word: Word) -> bool:
    return word.term.open_start or word.term.open_end


def _is_plain(text: str) -> bool:
    """Of letters, spaces, hyphens and apostrophes only: found by its letters."""
    return all(kind(c) in (LETTER, UNSPACED) or c.isspace() or c in "-'’" or _is_mark(c) for c in text) and any(
        kind(c) in (LETTER, UNSPACED) for c in text
    )


def _is_foldable(text: str) -> bool:
    """Its letters alone tell the term: three of them beside digits, and no other signs."""
    if _is_plain(text):
        return True
    letters = sum(kind(character) in (LETTER, UNSPACED) for character in text)
    return letters >= 3 and all(kind(c) in (LETTER, UNSPACED, DIGIT) or c.isspace() or c in "-'’" for c in text)


def _is_mark(character: str) -> bool:
    return unicodedata.category(character)[0] == "M"
