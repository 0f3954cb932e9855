"""The little words with which sentences point: the ``[grammar]`` of a lexicon, compiled."""

from dataclasses import dataclass, fields
from typing import Any

from vfscreen.errors import ReportsError
from vfscreen.reports.tokens import words_of


@dataclass(frozen=True, slots=True)
class Grammar:
    """Single words by what they do.

    Parameters
    ----------
    one, several : frozenset of str
        Pronouns that can be a subject: "it", "these".
    opening : frozenset of str
        Those of them that are one only where they open the sentence: "that".
    determiners : frozenset of str
        With a noun of `nouns` they point back too: "the finding", "both levels".
    nouns : frozenset of str
        What findings and places in general are called.
    complement : frozenset of str
        What opens a clause that a verb or noun governs: "no evidence *that*".
    more, less : frozenset of str
        Before a percentage.
    patient : frozenset of str
        Words of age and sex, with which an indication without a heading opens.
    """

    one: frozenset[str]
    several: frozenset[str]
    opening: frozenset[str]
    determiners: frozenset[str]
    nouns: frozenset[str]
    complement: frozenset[str]
    more: frozenset[str]
    less: frozenset[str]
    patient: frozenset[str]


def grammar_of(table: dict[str, Any], fold: dict[int, str], label: str) -> Grammar:
    """Compile the ``[grammar]`` of a lexicon.

    Raises
    ------
    ReportsError
        A key is unknown or of the wrong kind.
    """
    names = [field.name for field in fields(Grammar)]
    unknown = set(table) - set(names)
    if unknown:
        raise ReportsError(f"{label}: [grammar] has unknown {', '.join(sorted(unknown))}.")
    words: dict[str, frozenset[str]] = {}
    for name in names:
        terms = table.get(name, [])
        if not isinstance(terms, list) or not all(isinstance(term, str) for term in terms):
            raise ReportsError(f"{label}: `{name}` of [grammar] is a list of strings.")
        several = [term for term in terms if len(words_of(term, fold)) != 1]
        if several:
            raise ReportsError(f"{label}: `{several[0]}` of [grammar] is not a single word.")
        words[name] = frozenset(word for term in terms for word in words_of(term, fold))
    return Grammar(**words)
