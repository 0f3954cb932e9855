"""A lexicon: the words of one finding in one language, as data, compiled once.

A lexicon is a TOML file. Its head names the finding and the language; each ``[[entry]]`` has an
``id`` (which evidence cites), a ``role`` (see `Role`), ``terms``, a ``source``, and for some roles
a ``value`` or a ``tie``. A term is a sequence of words; case, line breaks and hyphens inside words
do not matter; ``{old|chronic|}`` stands for each of its alternatives, the last one empty here.

``[levels]`` tells how vertebral levels are written (see `Spelling`), ``[grammar]`` which words
point back to a finding ("this", "dicha", "此") and which name age and sex (see `Grammar`).

A lexicon can extend a shipped one (``extends = "en"``): it has all its entries except those whose
``id`` it repeats, which it replaces, and those that it leaves out by ``without = ["id", "id.*"]``.
So the grammar of a language, its negations, doubts and headings, is written once.

There are no regular expressions in a lexicon: terms are looked up word by word in a table of
first words, so that reading stays linear in the length of the text whatever a site writes.
"""

import hashlib
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path

from vfscreen.errors import ReportsError
from vfscreen.reports.lexicon.entries import LEVELS, MENTION_ROLES, Entry, Node, Role
from vfscreen.reports.lexicon.files import LANGUAGES, SHIPPED, read_shipped, read_source
from vfscreen.reports.lexicon.grammar import Grammar, grammar_of
from vfscreen.reports.lexicon.misspelt import misspellings
from vfscreen.reports.lexicon.spelling import Spelling, spelling_of
from vfscreen.reports.tokens import FOLD, words_in, words_of

__all__ = [
    "LANGUAGES", "LEVELS", "MENTION_ROLES", "SHIPPED", "Entry", "Grammar", "Lexicon", "Node",
    "Role", "Spelling", "combined", "load",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Lexicon:
    """A compiled lexicon.

    Parameters
    ----------
    finding, language : str
    spelling : Spelling or None
        How vertebral levels are written; `None` where the finding knows no levels.
    grammar : Grammar
        Words that point back, and words of age and sex.
    sha256 : str
        Of the files and of the rules that read them: labels made with others are made again.
    terms : Node
        Root of a tree of words: looking up a term costs its own length, however many there are.
    triggers : frozenset of str
        A word of each mention and action: a report without any of them says nothing.
    vocabulary : frozenset of str
        All words of its terms: a report is in the language that knows more of its words.
    abbreviations : frozenset of str
        Words after which a full stop does not end a sentence.
    fold : dict
        Character (a code point) -> the one that it is read as.
    misspelt : dict
        Misspelt word -> the word that it is read as.
    others : tuple of Lexicon
        The same finding in other languages.
    """

    finding: str
    language: str
    spelling: Spelling | None
    grammar: Grammar
    sha256: str
    terms: Node
    triggers: frozenset[str]
    vocabulary: frozenset[str]
    abbreviations: frozenset[str]
    fold: dict[int, str]
    misspelt: dict[str, str]
    others: tuple["Lexicon", ...] = ()

    def reading(self, text: str) -> "tuple[Lexicon, set[str]]":
        """The lexicon of the language that a text is in, this one if in doubt, and its words.

        Words that both languages know say nothing, nor do single letters. Linear.
        """
        words = words_in(text, self.fold)
        best, most = self, 0
        for other in self.others:
            theirs = sum(1 for w in words & other.vocabulary if w not in self.vocabulary)
            ours = sum(1 for w in words & self.vocabulary if w not in other.vocabulary)
            if theirs - ours > most:
                best, most = other, theirs - ours
        return best, words


def load(
    path: Path | None = None,
    *,
    finding: str = "vertebral_fracture",
    languages: Sequence[str] | None = None,
) -> Lexicon:
    """Read and compile a lexicon.

    Without a path the shipped ones of `finding`, by default in all their languages: English with
    Chinese phrases, or Chinese; and Spanish, each report by the lexicon of its language.

    Raises
    ------
    ReportsError
        The file is missing, not TOML, or an entry of it is not understood; the message names the
        line and the entry. Or no lexicon is shipped for this finding in these languages.
    """
    if path is not None:
        return _compile(f"The lexicon {path}", _read(path))
    return _shipped(finding, None if languages is None else tuple(languages))


@cache
def _shipped(finding: str, languages: tuple[str, ...] | None) -> Lexicon:
    unknown = sorted(set(languages or ()) - set(LANGUAGES))
    if unknown or languages == ():
        raise ReportsError(
            f"A language is one of {', '.join(LANGUAGES)}, not {', '.join(unknown) or 'none'}."
        )
    files = SHIPPED.get(finding, {})
    wanted = [name for name in files if languages is None or name in languages]
    if "zh-Hant" in wanted and "en" in wanted:
        wanted.remove("en")  # Chinese reports have English in them: that lexicon extends this one
    if not wanted:
        raise ReportsError(
            f"No lexicon is shipped for {finding} in {', '.join(languages or LANGUAGES)}; there is "
            + "; ".join(f"{name} in {', '.join(SHIPPED[name])}" for name in SHIPPED)
            + ". Name a file of your own in `reports.lexicons`."
        )
    return combined(
        [_compile(f"The lexicon {files[name]}", read_shipped(files[name])) for name in wanted]
    )


def combined(lexicons: Sequence[Lexicon]) -> Lexicon:
    """One lexicon that reads each report with the one of its language, in doubt the first."""
    first, *others = lexicons
    if not others:
        return first
    sha256 = hashlib.sha256("".join(one.sha256 for one in lexicons).encode()).hexdigest()
    return replace(first, sha256=sha256, others=tuple(others))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ReportsError(f"The lexicon {path} cannot be read: {error.strerror}.") from None


def _compile(label: str, raw: bytes) -> Lexicon:
    source = read_source(label, raw)
    fold = dict(FOLD) | {
        ord(theirs): ours for ours, all_ in source.head["variants"].items() for theirs in all_
    }
    root = Node()
    mentions: list[tuple[str, ...]] = []
    slips: list[tuple[str, list[str]]] = []
    known: set[str] = set()
    for entry, terms, where in source.entries.values():
        if entry.role is Role.SPELLING:
            slips.append((entry.value, terms))
            continue
        for words in dict.fromkeys(w for term in terms for w in _expanded(term, fold)):
            if not words:
                raise ReportsError(f"{where}: a term has no word.")
            node = root
            for word in words:
                node = node.children.setdefault(word, Node())
            other = node.entries.setdefault(entry.role, entry)
            if other is not entry:
                raise ReportsError(
                    f"{where}: it shares the term `{' '.join(words)}` with {other.id}, which has "
                    f"the same role; take it out of one, or leave that one out by `without`."
                )
            known.update(words)
            if entry.role in MENTION_ROLES or entry.role is Role.ACTION:
                mentions.append(words)
    if not mentions:
        raise ReportsError(f"{label} has no entry that mentions its finding.")
    digest = hashlib.sha256(_rules_sha256())
    for part in source.raw:
        digest.update(hashlib.sha256(part).digest())
    misspelt = misspellings(slips, known)
    triggers = _triggers(mentions)
    return Lexicon(
        finding=source.head["finding"],
        language=source.head["language"],
        spelling=spelling_of(source.levels, fold, label) if source.levels else None,
        grammar=grammar_of(source.grammar, fold, label),
        sha256=digest.hexdigest(),
        terms=root,
        triggers=triggers.union(slip for slip, word in misspelt.items() if word in triggers),
        vocabulary=frozenset(w for w in known if len(w) > 1 or not w.isascii()),
        abbreviations=frozenset(a.lower() for a in source.head["abbreviations"]),
        fold=fold,
        misspelt=misspelt,
    )


_RULES = (
    "attributes", "candidates", "context", "discourse", "labelling", "levels", "mentions",
    "parsing", "phrases", "predicates", "recommendation", "sections", "sites", "statuses", "tokens",
)  # fmt: skip


@cache
def _rules_sha256() -> bytes:
    """Of the modules that read with a lexicon: changed rules label anew, as changed words do."""
    room = resources.files("vfscreen.reports")
    here = [f for f in room.joinpath("lexicon").iterdir() if f.name.endswith(".py")]
    files = [*(room.joinpath(f"{name}.py") for name in _RULES), *sorted(here, key=lambda f: f.name)]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).digest()


def _triggers(terms: list[tuple[str, ...]]) -> frozenset[str]:
    """Choose words of which every term has one: single-word terms, then the longest words."""
    chosen = {words[0] for words in terms if len(words) == 1}
    for words in terms:
        if chosen.isdisjoint(words):
            chosen.add(max(words, key=len))
    return frozenset(chosen)


def _expanded(term: str, fold: dict[int, str]) -> list[tuple[str, ...]]:
    """All word sequences of a term with ``{a|b|}`` alternatives."""
    parts = re.split(r"\{([^{}]*)\}", term)
    choices = [p.split("|") if i % 2 else [p] for i, p in enumerate(parts)]
    return [words_of("".join(c), fold) for c in itertools.product(*choices)]
