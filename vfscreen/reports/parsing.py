"""From words to items: terms of the lexicon, and spinal levels."""

import re
from dataclasses import dataclass, replace

from vfscreen.reports.lexicon import Entry, Lexicon, Node, Role
from vfscreen.reports.tokens import Words, tokenise

# Cervical levels count too; L6 is a common variant.
LEVELS = (
    *(f"C{n}" for n in range(1, 8)),
    *(f"T{n}" for n in range(1, 13)),
    *(f"L{n}" for n in range(1, 7)),
)
_RANK = {level: rank for rank, level in enumerate(LEVELS)}
# "T12", "Th12", "D12" (dorsal), "TV12", "LV1": an optional letter more than the canonical one.
_LEVEL = re.compile(r"(c|th?|d|l)v?(\d{1,2})")
_PREFIX = {"c": "C", "t": "T", "th": "T", "d": "T", "l": "L"}
_REGION = {"cervical": "C", "thoracic": "T", "dorsal": "T", "lumbar": "L"}
_ORDINAL = re.compile(r"(\d{1,2})(?:st|nd|rd|th)")
_ORDINAL_WORDS = {
    word: number
    for number, word in enumerate(
        (
            "first", "second", "third", "fourth", "fifth", "sixth",
            "seventh", "eighth", "ninth", "tenth", "eleventh", "twelfth",
        ),
        start=1,
    )
}  # fmt: skip
_LEVEL_WORDS = frozenset({*_PREFIX, *_ORDINAL_WORDS})
_RANGE_WORDS = frozenset({"-", "–", "—", "to", "through", "thru"})
# "T1-weighted" is a pulse sequence, "vitamin D3" is not the third dorsal vertebra.
_NOT_A_LEVEL_BEFORE = frozenset({"weighted", "signal", "hyperintense", "hypointense"})
_NOT_A_LEVEL_AFTER = frozenset({"vitamin", "vit"})

_LEVEL_ENTRY = Entry(id="level", role=Role.TARGET, value="level", tie="clause")


@dataclass(frozen=True, slots=True)
class Item:
    """A term found in the text: words ``start`` to ``end`` (exclusive) and what they can mean.

    `pair` tells of two neighbouring levels in one ("L4/5"): unless a vertebra is spoken of, that is
    how a disc is called.
    """

    start: int
    end: int
    roles: dict[Role, Entry]
    levels: tuple[str, ...] = ()
    pair: bool = False


@dataclass(frozen=True, slots=True)
class Parsed:
    """Words, per word the item that covers it, and all items in their order."""

    words: Words
    at: list[Item | None]
    items: list[Item]


def parse(text: str, lexicon: Lexicon) -> Parsed:
    """Find levels and the longest terms, from left to right; linear in the length of the text."""
    words = tokenise(text, lexicon.abbreviations)
    tokens = words.words
    misspelt = lexicon.misspelt
    if not misspelt.keys().isdisjoint(tokens):
        tokens[:] = [misspelt.get(word, word) for word in tokens]
    terms = lexicon.terms.children
    count = len(tokens)
    at: list[Item | None] = [None] * count
    items: list[Item] = []
    i = 0
    while i < count:
        word = tokens[i]
        item = None
        if lexicon.levels and (word in _LEVEL_WORDS or word[-1].isdecimal() or word[0].isdecimal()):
            item = _level_at(words, i)
            if item is not None:
                item = _paired(words, item)
        if item is None and word in terms:
            item = _longest_term(terms[word], tokens, i)
        if item is None:
            i += 1
            continue
        items.append(item)
        for k in range(i, item.end):
            at[k] = item
        i = item.end
    return Parsed(words, at, items)


def _paired(words: Words, item: Item) -> Item:
    """Tell whether levels are the pair around a disc; "L5/S1" is, with the sacrum behind it."""
    tokens, end = words.words, item.end
    if item.levels == ("L5",) and end < len(tokens):
        joint = words.gap(end - 1).strip() == "-"
        at = end if joint else end + 1 if tokens[end] in _PAIRED_BY else len(tokens)
        if at < len(tokens) and tokens[at] in ("s1", "1"):
            return replace(item, end=at + 1, pair=True)
    written = words.text[words.starts[item.start] : words.ends[end - 1]]
    return replace(item, pair=len(item.levels) == 2 and not _PAIRED_BY.isdisjoint(written))


_PAIRED_BY = frozenset("/-–—")


def _longest_term(first: Node, tokens: list[str], i: int) -> Item | None:
    node: Node | None = first
    found: Item | None = None
    k = i
    while node is not None:
        k += 1
        if node.entries:
            found = Item(i, k, node.entries)
        node = node.children.get(tokens[k]) if k < len(tokens) else None
    return found


def _single_level(words: Words, i: int) -> tuple[str, int] | None:
    """A level named at word `i` ("L1", "L 1", "12th thoracic") and the word after it."""
    tokens = words.words
    word = tokens[i]
    after = tokens[i + 1] if i + 1 < len(tokens) else ""
    if word in _PREFIX:
        if after.isdecimal() and len(after) <= 2 and words.gap(i).strip() in ("", "-"):
            return _canonical(_PREFIX[word], int(after), i + 2)
        return None
    if word[0] in "ctdl" and word[-1].isdecimal():
        match = _LEVEL.fullmatch(word)
        if not match or after in _NOT_A_LEVEL_BEFORE:
            return None
        if i and tokens[i - 1] in _NOT_A_LEVEL_AFTER:
            return None
        return _canonical(_PREFIX[match[1]], int(match[2]), i + 1)
    if after in _REGION:
        ordinal = _ORDINAL.fullmatch(word)
        number = int(ordinal[1]) if ordinal else _ORDINAL_WORDS.get(word)
        if number:
            return _canonical(_REGION[after], number, i + 2)
    return None


def _canonical(prefix: str, number: int, end: int) -> tuple[str, int] | None:
    level = f"{prefix}{number}"
    return (level, end) if level in _RANK else None


def _level_at(words: Words, i: int) -> Item | None:
    """A level, a range of levels or a pair ("L1/2") that begins at word `i`."""
    first = _single_level(words, i)
    if first is None:
        return None
    tokens = words.words
    level, end = first
    levels: tuple[str, ...] = (level,)
    if end < len(tokens):
        step = 0
        if words.gap(end - 1).strip() == "-":  # a hyphen inside a word is no token
            second = _second_level(words, end, level)
        elif tokens[end] in _RANGE_WORDS or tokens[end] == "/":
            step = 1
            second = _second_level(words, end + 1, level) if end + 1 < len(tokens) else None
        else:
            second = None
        if second is not None:
            if step and tokens[end] == "/":
                levels = (level, second[0])
            else:
                low, high = sorted((_RANK[level], _RANK[second[0]]))
                levels = LEVELS[low : high + 1]
                if high >= _RANK["L6"]:  # a range never passes through L6 on its way
                    levels = tuple(v for v in levels if v in (level, second[0]) or v != "L6")
            end = second[1]
    return Item(i, end, {Role.TARGET: _LEVEL_ENTRY}, levels)


def _second_level(words: Words, i: int, first: str) -> tuple[str, int] | None:
    word = words.words[i]
    if word.isdecimal() and len(word) <= 2:
        second = _canonical(first[0], int(word), i + 1)
        return second if second and _RANK[second[0]] > _RANK[first] else None
    return _single_level(words, i)
