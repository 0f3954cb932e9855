"""What a lexicon is made of: entries, their roles, and the tree of words that finds them."""

from dataclasses import dataclass, field
from enum import StrEnum


class Role(StrEnum):
    """What a term does in a sentence. The labeller knows these and nothing of any finding."""

    # That of an enumeration is written in Python, and each look at a word's roles asks for it.
    __hash__ = str.__hash__

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


LEVELS = (
    *(f"C{n}" for n in range(1, 8)),
    *(f"T{n}" for n in range(1, 13)),
    *(f"L{n}" for n in range(1, 7)),
)
"""Vertebral levels from above; the cervical ones count too, and L6 is a common variant."""

MENTION_ROLES = frozenset(
    {Role.FRACTURE, Role.DEFORMITY, Role.CEMENT, Role.HEIGHT, Role.INTACT, Role.BENIGN}
)
TIES = ("own", "clause", "phrase")


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
