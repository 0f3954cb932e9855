"""A lexicon: the words of one finding in one language, as data, compiled once.

A lexicon is a TOML file. Its head names the finding and the language; each ``[[entry]]`` has an
``id`` (which evidence cites), a ``role`` (see `Role`), ``terms``, a ``source``, and for some roles
a ``value`` or a ``tie``. A term is a sequence of words; case, line breaks and hyphens inside words
do not matter; ``{old|chronic|}`` stands for each of its alternatives, the last one empty here.

There are no regular expressions in a lexicon: terms are looked up word by word in a table of
first words, so that reading stays linear in the length of the text whatever a site writes.
"""

import hashlib
import itertools
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from vfscreen.errors import ReportsError
from vfscreen.reports.lexicon.misspelt import misspellings
from vfscreen.reports.tokens import words_of


class Role(StrEnum):
    """What a term does in a sentence. The labeller knows these and nothing of any finding."""

    # Mentions: what a status is made of.
    FRACTURE = "fracture"  # the finding by its name
    DEFORMITY = "deformity"  # its shape without its name
    CEMENT = "cement"  # a treatment that implies it
    HEIGHT = "height"  # a measure that is lost (deformity) or normal (denied)
    INTACT = "intact"  # said of the site, denies the finding
    BENIGN = "benign"  # a finding that takes a deformity off the table
    HARMLESS = "harmless"  # an adjective that does, and is no mention itself
    # Where: the finding's own site, or another one.
    TARGET = "target"
    OTHER = "other"
    # ConText modifiers (Harkema et al. 2009).
    NEGATION_BEFORE = "negation_before"
    NEGATION_AFTER = "negation_after"
    UNCERTAIN_BEFORE = "uncertain_before"
    UNCERTAIN_AFTER = "uncertain_after"
    VERSUS = "versus"
    CONFIRMED = "confirmed"  # settles a doubt
    RETRACTS = "retracts"  # takes back what stands before it ("should read")
    ASKED = "asked"  # looked for: says nothing in an indication, uncertain elsewhere
    HYPOTHETICAL = "hypothetical"
    HISTORICAL = "historical"
    SUBJECT = "subject"  # somebody else than the patient
    STOP = "stop"  # ends the scope of every modifier
    CLOSE = "close"  # another finding: ends a scope unless an `or` or a comma goes on from it
    # Grammar, for tying a mention to its site.
    LINK = "link"  # prepositions that lead from a mention to its site
    COPULA = "copula"
    SEEN = "seen"
    CONJUNCTION = "conjunction"
    ANAPHOR = "anaphor"  # its value: `place` ("at this level"), `former`, `latter`
    PROFORM = "proform"  # stands for the finding last named: "another at L3"
    BREAK = "break"  # ends a noun phrase
    # Attributes.
    ACUITY = "acuity"
    SEVERITY = "severity"
    FRACTION = "fraction"  # of height, its value in percent: "one third"
    LOSS = "loss"
    NORMAL = "normal"
    CAUSE = "cause"
    # The report around it.
    SECTION = "section"
    CONTINUES = "continues"  # after a heading's word: it is none, the sentence goes on
    RECOMMEND = "recommend"
    ACTION = "action"
    IMAGING = "imaging"
    IGNORE = "ignore"  # terms that hide others inside them
    SPELLING = "spelling"  # words whose slips are read as them; with a value, its misspellings


MENTION_ROLES = frozenset(
    {Role.FRACTURE, Role.DEFORMITY, Role.CEMENT, Role.HEIGHT, Role.INTACT, Role.BENIGN}
)
_TIES = ("own", "clause", "phrase")


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a lexicon, without its terms.

    `tie` says what binds a mention to the finding's site: its own words (``own``), any word of
    the site in the clause (``clause``), or only one in its own phrase (``phrase``).
    """

    id: str
    role: Role
    value: str
    tie: str


@dataclass(slots=True)
class Node:
    """A word in the tree of terms: the words that may follow, and what a term ending here means.

    A term can have several roles: "again noted" says old, and leads to a site as "seen" does.
    """

    children: dict[str, "Node"] = field(default_factory=dict)
    entries: dict[Role, Entry] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lexicon:
    """A compiled lexicon.

    Parameters
    ----------
    finding, language : str
    levels : bool
        Whether the finding has vertebral levels, which then count as its site.
    sha256 : str
        Of the file: labels made with another lexicon are made again.
    terms : Node
        Root of a tree of words: looking up a term costs its own length, however many there are.
    triggers : frozenset of str
        A word of each mention and action: a report without any of them says nothing.
    abbreviations : frozenset of str
        Words after which a full stop does not end a sentence.
    misspelt : dict
        Misspelt word -> the word that it is read as.
    """

    finding: str
    language: str
    levels: bool
    sha256: str
    terms: Node
    triggers: frozenset[str]
    abbreviations: frozenset[str]
    misspelt: dict[str, str]


def load(path: Path | None = None) -> Lexicon:
    """Read and compile a lexicon; without a path, the English one for vertebral fractures.

    Raises
    ------
    ReportsError
        The file is missing, not TOML, or an entry of it is not understood; the message names the
        entry.
    """
    return _shipped() if path is None else _compile(_read(path), f"The lexicon {path}")


@cache
def _shipped() -> Lexicon:
    raw = resources.files("vfscreen.reports.lexicon").joinpath("en.toml").read_bytes()
    return _compile(raw, "The lexicon en.toml")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ReportsError(f"The lexicon {path} cannot be read: {error.strerror}.") from None


def _compile(raw: bytes, label: str) -> Lexicon:
    try:
        content = tomllib.loads(raw.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ReportsError(f"{label} is not TOML in UTF-8: {error}.") from None
    head = content.get("lexicon", {})
    finding, language = head.get("finding"), head.get("language")
    if not isinstance(finding, str) or not isinstance(language, str):
        raise ReportsError(f"{label}: its [lexicon] must name `finding` and `language`.")
    root = Node()
    seen: set[str] = set()
    mentions: list[tuple[str, ...]] = []
    spelling: list[tuple[str, list[str]]] = []
    for number, item in enumerate(content.get("entry", []), start=1):
        entry, terms = _entry(item, number, label)
        if entry.id in seen:
            raise ReportsError(f"{label}: two entries have the id `{entry.id}`.")
        seen.add(entry.id)
        if entry.role is Role.SPELLING:
            spelling.append((entry.value, [word for words in terms for word in words]))
            continue
        for words in terms:
            node = root
            for word in words:
                node = node.children.setdefault(word, Node())
            other = node.entries.setdefault(entry.role, entry)
            if other is not entry:
                raise ReportsError(
                    f"{label}: `{entry.id}` and `{other.id}` share the term `{' '.join(words)}`."
                )
        if entry.role in MENTION_ROLES or entry.role is Role.ACTION:
            mentions += terms
    if not mentions:
        raise ReportsError(f"{label} has no entry that mentions its finding.")
    misspelt = misspellings(spelling, frozenset(_words(root)))
    triggers = _triggers(mentions)
    return Lexicon(
        finding=finding,
        language=language,
        levels=bool(head.get("levels", False)),
        sha256=hashlib.sha256(raw).hexdigest(),
        terms=root,
        triggers=triggers.union(slip for slip, word in misspelt.items() if word in triggers),
        misspelt=misspelt,
        abbreviations=frozenset(a.lower() for a in head.get("abbreviations", [])),
    )


def _words(node: Node) -> Iterator[str]:
    """All words of the terms below a node."""
    for word, child in node.children.items():
        yield word
        yield from _words(child)


def _triggers(terms: list[tuple[str, ...]]) -> frozenset[str]:
    """Choose words of which every term has one: single-word terms, then the longest words."""
    chosen = {words[0] for words in terms if len(words) == 1}
    for words in terms:
        if chosen.isdisjoint(words):
            chosen.add(max(words, key=len))
    return frozenset(chosen)


def _entry(item: Any, number: int, label: str) -> tuple[Entry, list[tuple[str, ...]]]:
    where = f"{label}: entry {number} ({item.get('id', 'without id')})"
    unknown = set(item) - {"id", "role", "terms", "source", "value", "tie"}
    missing = {"id", "role", "terms", "source"} - set(item)
    if unknown or missing:
        raise ReportsError(f"{where}: unknown {sorted(unknown)}, missing {sorted(missing)}.")
    try:
        role = Role(item["role"])
    except ValueError:
        raise ReportsError(f"{where}: there is no role `{item['role']}`.") from None
    tie = item.get("tie", "clause")
    if tie not in _TIES:
        raise ReportsError(f"{where}: `tie` is one of {', '.join(_TIES)}.")
    terms = [words for term in item["terms"] for words in _expanded(term)]
    if not all(terms):
        raise ReportsError(f"{where}: a term has no word.")
    return Entry(id=item["id"], role=role, value=str(item.get("value", "")), tie=tie), terms


def _expanded(term: str) -> list[tuple[str, ...]]:
    """All word sequences of a term with ``{a|b|}`` alternatives."""
    parts = re.split(r"\{([^{}]*)\}", term)
    choices = [p.split("|") if i % 2 else [p] for i, p in enumerate(parts)]
    return list(dict.fromkeys(words_of("".join(c)) for c in itertools.product(*choices)))
