"""Words of a sentence that may be a mention, before anybody asked what they are about."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from vfscreen.reports.lexicon import MENTION_ROLES, Entry, Role
from vfscreen.reports.parsing import Item, Parsed
from vfscreen.reports.sections import Sentence
from vfscreen.reports.sites import NONE, Site, is_vertebra

# How far a height and what is said of it stand apart, in words.
_PAIR_REACH = 8
# How far behind "another one" its site stands, in words.
_PROFORM_REACH = 4
# How far into its sentence it can stand and still be its subject ("The other one at L3 ...").
_PROFORM_SUBJECT = 2
_SAID_OF_HEIGHT = (
    (Role.LOSS, Role.DEFORMITY),
    (Role.NORMAL, Role.INTACT),
    (Role.INTACT, Role.INTACT),
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """Words that may be a mention.

    `stem` are the words whose phrase is searched for the site: of "height is maintained" the
    height alone. `inner` is a site between "loss" and "height". `height` tells that the mention is
    about height, which discs have too.
    """

    start: int
    end: int
    role: Role
    entry: Entry
    stem: tuple[int, int]
    height: bool = False
    inner: Site = NONE


def candidates(
    parsed: Parsed, sentence: Sentence, spoken_of: Candidate | None
) -> Iterator[Candidate]:
    """Find all of a sentence; `spoken_of` is the last one of the sentence before."""
    seen: Item | None = None
    for i in range(sentence.start, sentence.end):
        item = parsed.at[i]
        if item is None or item is seen:
            continue
        seen = item
        role = next((r for r in item.roles if r in MENTION_ROLES), None)
        found = None
        if role is Role.HEIGHT:
            found = _height_pair(parsed, sentence, item)
        elif role is not None:
            entry = item.roles[role]
            stem = (item.start, item.end)
            found = Candidate(*stem, role, entry, stem, height=entry.value == "height")
        elif Role.PROFORM in item.roles and spoken_of and _stands_for(parsed, sentence, item):
            if spoken_of.height and item.roles[Role.PROFORM].value == "that":
                continue  # "The height of L1 is reduced; that of L2 is maintained."
            if spoken_of.start < sentence.start < i - _PROFORM_SUBJECT:
                continue  # "a T8 fracture. Two calculi, one at L3"
            entry = replace(spoken_of.entry, id=item.roles[Role.PROFORM].id, tie="phrase")
            stem = (item.end - 1, item.end)  # its first words can end a denial: "except at"
            found = Candidate(*stem, spoken_of.role, entry, stem)
        if found is not None:
            if found.role in (Role.FRACTURE, Role.DEFORMITY):
                spoken_of = found
            yield found


def _stands_for(parsed: Parsed, sentence: Sentence, proform: Item) -> bool:
    """Whether "one" or "another" stands for a finding: it has a site of its own ("one at L3")."""
    linked = proform.roles[Role.PROFORM].value in ("exception", "that")
    for i in range(proform.end, min(sentence.end, proform.end + _PROFORM_REACH)):
        item = parsed.at[i]
        if item is None:
            continue
        if item.levels:
            return linked
        if Role.LINK not in item.roles and Role.ANAPHOR not in item.roles:
            return False
        linked = True
    return False


def _height_pair(parsed: Parsed, sentence: Sentence, height: Item) -> Candidate | None:
    """A height with what is said of it: lost is a deformity, normal denies one."""
    low = max(sentence.start, height.start - _PAIR_REACH)
    high = min(sentence.end, height.end + _PAIR_REACH)
    usual: Candidate | None = None  # "half of its normal height": a measure, not what is seen
    for walk in (range(height.end, high), range(height.start - 1, low - 1, -1)):
        for i in walk:
            item = parsed.at[i]
            if item is None:
                continue
            if Role.STOP in item.roles or Role.FRACTURE in item.roles:
                break
            for role, result in _SAID_OF_HEIGHT:
                if role not in item.roles:
                    continue
                found = _of_height(parsed, height, item, result)
                if role is Role.NORMAL and parsed.words.words[item.start - 1] in _POSSESSIVE:
                    usual = usual or found
                    break
                return found
    if usual is not None and _measured(parsed, low, height.start):
        return replace(usual, role=Role.DEFORMITY)
    return usual


def _measured(parsed: Parsed, low: int, end: int) -> bool:
    """Whether a share is named: "50 % of its normal height"."""
    return any(
        word in ("%", "percent") or (item is not None and Role.FRACTION in item.roles)
        for word, item in zip(parsed.words.words[low:end], parsed.at[low:end], strict=True)
    )


_POSSESSIVE = frozenset({"its", "their"})


def _of_height(parsed: Parsed, height: Item, said: Item, role: Role) -> Candidate:
    entry = height.roles[Role.HEIGHT]
    entry = replace(entry, id=f"{entry.id}.{next(iter(said.roles.values())).id}")
    if said.start > height.start:
        stem = (height.start, height.end)
        return Candidate(stem[0], said.end, role, entry, stem, height=True)
    stem = (said.start, height.end)
    inner = _inside(parsed, *stem)
    return Candidate(*stem, role, entry, stem, height=True, inner=inner)


def _inside(parsed: Parsed, start: int, end: int) -> Site:
    """A site between "loss" and "height"; the levels before a disc are the disc's own."""
    found = NONE
    for item in parsed.at[start:end]:
        if item is None:
            continue
        roles = item.roles
        joined = Role.CONJUNCTION in roles or (bool(found.levels) and is_vertebra(item))
        if found.kind != "none" and joined:
            break
        if Role.OTHER in roles and (found.kind == "none" or roles[Role.OTHER].value == "disc"):
            return Site("other", roles[Role.OTHER].id, bound=True)
        if Role.TARGET in roles and found.kind == "none":
            found = Site("target", roles[Role.TARGET].id, item.levels, bound=True)
    return found
