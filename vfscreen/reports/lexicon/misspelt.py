"""Words as they are mistyped and misheard: what one slip makes of a long word, and a table.

A slip is a letter left out, doubled or wrong, or two letters exchanged (Damerau 1964, Commun ACM
7:171: four fifths of all misspellings). All of them are computed once for the words that a lexicon
names, so that reading costs one look-up a word; short words have too many neighbours that are
words themselves, and are misspelt only as the lexicon's tables say.
"""

from collections.abc import Iterable, Iterator, Set
from string import ascii_lowercase

_SHORTEST = 7


def misspellings(spelling: Iterable[tuple[str, Iterable[str]]], known: Set[str]) -> dict[str, str]:
    """Misspelt word -> right word.

    Parameters
    ----------
    spelling : pairs of str and words
        A right word with its misspellings, or an empty string with words whose slips all count.
    known : set of str
        Words that are right as they are, and are never changed.
    """
    table: dict[str, str] = {}
    doubtful: set[str] = set()
    listed: dict[str, str] = {}
    for right, words in spelling:
        for word in words:
            if right:
                listed[word] = right
            elif len(word) >= _SHORTEST:
                for slip in _slips(word):
                    other = table.setdefault(slip, word)
                    if other != word and not _inflected(word, other):
                        doubtful.add(slip)
    right_words = known | set(table.values())
    table = {s: w for s, w in table.items() if s not in right_words and s not in doubtful}
    return table | listed


def _inflected(word: str, other: str) -> bool:
    """Whether two words are forms of one ("vertebra", "vertebrae"): either will do."""
    stem = min(len(word), len(other)) - 1
    return word[:stem] == other[:stem]


def _slips(word: str) -> Iterator[str]:
    """All words at one slip from this one; the first letter is never wrong by itself."""
    for i in range(len(word)):
        yield word[:i] + word[i + 1 :]
        if i + 1 < len(word) and word[i] != word[i + 1]:
            yield word[:i] + word[i + 1] + word[i] + word[i + 2 :]
    for i in range(1, len(word)):
        for letter in ascii_lowercase:
            yield word[:i] + letter + word[i:]
            if letter != word[i]:
                yield word[:i] + letter + word[i + 1 :]
