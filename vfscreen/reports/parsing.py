"""From words to items: terms of the lexicon, and spinal levels."""

from dataclasses import dataclass, replace

from vfscreen.reports.levels import levels_at
from vfscreen.reports.lexicon import Entry, Grammar, Lexicon, Node, Role, Spelling
from vfscreen.reports.tokens import Words, tokenise

# A level is the finding's own site, or that of another one.
_LEVEL_ENTRIES = {
    "target": Entry(id="level", role=Role.TARGET, value="level", tie="clause"),
    "other": Entry(id="other.level", role=Role.OTHER, value="bone", tie="clause"),
}


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


def is_or(item: Item | None) -> bool:
    """Whether it joins what stands under one "no": a conjunction ("or"), a negation ("nor")."""
    return item is not None and any(
        role in item.roles and item.roles[role].value == "or"
        for role in (Role.CONJUNCTION, Role.NEGATION_BEFORE)
    )


def parts_clauses(item: Item | None) -> bool:
    """Whether it is a comma that ends what was denied or doubted, as the Chinese one does."""
    found = item.roles.get(Role.CONJUNCTION) if item is not None else None
    return found is not None and found.value == "clause"


@dataclass(frozen=True, slots=True)
class Parsed:
    """Words, per word the item that covers it, all items in their order, and their grammar."""

    words: Words
    at: list[Item | None]
    items: list[Item]
    grammar: Grammar


def parse(text: str, lexicon: Lexicon) -> Parsed:
    """Find levels and the longest terms, from left to right; linear in the length of the text."""
    words = tokenise(text, lexicon.abbreviations, lexicon.fold)
    tokens = words.words
    misspelt = lexicon.misspelt
    if not misspelt.keys().isdisjoint(tokens):
        tokens[:] = [misspelt.get(word, word) for word in tokens]
    terms, spelling = lexicon.terms.children, lexicon.spelling
    count = len(tokens)
    at: list[Item | None] = [None] * count
    items: list[Item] = []
    i = 0
    while i < count:
        word = tokens[i]
        item = None
        if spelling is not None and (
            word[-1].isdecimal()
            or word[0].isdecimal()
            or word in spelling.letters
            or word in spelling.begins
        ):
            item = _level_item(words, i, spelling)
        if item is None and word in terms:
            item = _longest_term(terms[word], tokens, i)
        if item is None:
            i += 1
            continue
        items.append(item)
        for k in range(i, item.end):
            at[k] = item
        i = item.end
    return Parsed(words, at, items, lexicon.grammar)


def _level_item(words: Words, i: int, spelling: Spelling) -> Item | None:
    found = levels_at(words, i, spelling)
    if found is None:
        return None
    entry = _LEVEL_ENTRIES[spelling.role]
    levels, end = found
    if entry.role is Role.OTHER:
        return Item(i, end, {entry.role: entry})
    return _paired(words, Item(i, end, {entry.role: entry}, levels))


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
