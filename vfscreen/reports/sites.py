"""What a mention is about: the finding's site, another one, or none that the sentence names.

English puts the site of a finding before it ("L1 compression fracture"), behind it after a
preposition ("fracture of the L1 vertebral body"), or makes it the subject ("L1 is collapsed").
These are tried in the order of how tightly they bind; the nearest site in the clause comes last.
"""

from dataclasses import dataclass

from vfscreen.reports.lexicon import Role
from vfscreen.reports.parsing import Item, Parsed
from vfscreen.reports.phrases import MENTIONS, REACH, before_mention, behind_mention, is_site


@dataclass(frozen=True, slots=True)
class Site:
    """`kind` is ``target``, ``other`` or ``none``; `rule` names the entry that decided."""

    kind: str
    rule: str = ""
    levels: tuple[str, ...] = ()
    bound: bool = False  # by the mention's own phrase, not merely by the clause


NONE = Site("none")
PAIR = "level.pair"
"""Rule of a site that is a pair of levels, which is how discs are called."""


def site_of(parsed: Parsed, low: int, high: int, start: int, end: int, *, discs: bool) -> Site:
    """Find the site of the mention at words `start` to `end` of the sentence `low` to `high`.

    `discs` tells whether a disc is another site (it is for a loss of height) or only a place (a
    fracture next to a disc).
    """
    subject = NONE
    if _is_predicate(parsed, low, start):
        subject = _decide(before_mention(parsed, low, start, subject=True), discs)
        if subject.kind == "other" or subject.levels:
            return subject  # "the rod is fractured at L4"
    direct = _decide(before_mention(parsed, low, start, subject=False), discs)
    if direct.kind != "none" and direct.levels:
        return direct
    if direct.kind == "none":
        direct = subject
    behind = _decide(behind_mention(parsed, high, end), discs)
    if direct.kind == "target" and behind.kind == "target":
        return Site("target", direct.rule, behind.levels, bound=True)
    for site in (direct, behind):
        if site.kind != "none":
            return site
    subject = _decide(before_mention(parsed, low, start, subject=True), discs)
    return subject if subject.kind != "none" else _antecedent(parsed, low, start, discs)


_RELATIVE = frozenset({"which", "where", "that"})
_RELATIVE_REACH = 8


def _antecedent(parsed: Parsed, low: int, start: int, discs: bool) -> Site:
    """The site right before the relative clause of the mention: "except at L1, which is wedged"."""
    tokens = parsed.words.words
    for i in range(start - 1, max(low, start - _RELATIVE_REACH) - 1, -1):
        item = parsed.at[i]
        if tokens[i] in _RELATIVE:
            k = i - 1
            while k > low and (tokens[k] in (",", "in", "at") or parsed.at[k] is None):
                k -= 1
            site = parsed.at[k] if k >= low else None
            return _decide([[site]], discs) if site is not None and is_site(site) else NONE
        if item is not None and (is_site(item) or not MENTIONS.isdisjoint(item.roles)):
            return NONE
    return NONE


def _is_predicate(parsed: Parsed, low: int, start: int) -> bool:
    """Whether the mention is said of a subject: "is severely wedged", "has fractured"."""
    for i in range(start - 1, max(low, start - 5) - 1, -1):
        item = parsed.at[i]
        if item is None or not _BEFORE_PREDICATE.isdisjoint(item.roles):
            continue
        if Role.COPULA not in item.roles:
            return False
        kind = item.roles[Role.COPULA].value
        return kind == "be" or (kind == "have" and parsed.words.words[start].endswith("ed"))
    return False


_BEFORE_PREDICATE = frozenset({Role.ACUITY, Role.SEVERITY, Role.NEGATION_BEFORE, Role.SEEN})


def nearest_site(parsed: Parsed, low: int, high: int, start: int, end: int) -> Site:
    """The nearest site in the clause, on the left rather than on the right; levels before words."""
    word = NONE
    for walk in (
        range(start - 1, max(low, start - REACH) - 1, -1),
        range(end, min(high, end + REACH)),
    ):
        seen: Item | None = None
        for i in walk:
            item = parsed.at[i]
            if item is None or item is seen:
                continue
            seen = item
            if Role.STOP in item.roles and not (i < start and _opens_clause(parsed, low, item)):
                break
            if Role.FRACTURE in item.roles and i < start:
                break
            if Role.OTHER in item.roles and item.roles[Role.OTHER].value in ("bone", "part"):
                if word.kind == "none":
                    word = Site("other", item.roles[Role.OTHER].id)
                break
            if Role.TARGET in item.roles:
                site = Site("target", item.roles[Role.TARGET].id, item.levels)
                if item.levels:
                    levels = _listed_levels(parsed, low, high, item)
                    return Site("target", site.rule, levels) if word.kind != "other" else word
                if word.kind == "none":
                    word = site
    return word


def _opens_clause(parsed: Parsed, low: int, stop: Item) -> bool:
    """Whether a site before these words is that of what follows: "At L1 there is a fracture"."""
    if stop.roles[Role.STOP].value == "cause":
        return True  # "kyphosis at T12 due to a fracture"
    if stop.roles[Role.STOP].value != "there":
        return False
    k = stop.start - 1
    while k > low and parsed.words.words[k] == ",":
        k -= 1
    site = parsed.at[k] if k >= low else None
    led = parsed.at[site.start - 1] if site is not None and site.start > low else None
    return site is not None and bool(site.levels) and led is not None and Role.LINK in led.roles


def _listed_levels(parsed: Parsed, low: int, high: int, item: Item) -> tuple[str, ...]:
    """The levels of the list that a level stands in: "T12, L1 and L3"."""
    members = [item]
    for step in (-1, 1):
        k = item.start - 1 if step < 0 else item.end
        while low <= k < high and low <= k + step < high and len(members) < REACH:
            joint, member = parsed.at[k], parsed.at[k + step]
            if joint is None or Role.CONJUNCTION not in joint.roles:
                if joint is None or not joint.levels:
                    break
                member = joint  # "T12 L1": a list without a comma
            if member is None or not member.levels:
                break
            members.append(member)
            k = member.start - 1 if step < 0 else member.end
    members.sort(key=lambda m: m.start)
    return tuple(dict.fromkeys(level for m in members for level in m.levels))


def _decide(groups: list[list[Item]], discs: bool) -> Site:
    """A list of sites is about the target if one of its members is, whole and unqualified."""
    levels: list[str] = []
    rule, other = "", ""
    bodies = any(is_vertebra(item) for group in groups for item in group)
    for group in groups:
        others = [
            item.roles[Role.OTHER]
            for item in group
            if Role.OTHER in item.roles and (discs or item.roles[Role.OTHER].value != "disc")
        ]
        targets = [item for item in group if Role.TARGET in item.roles]
        if others:
            other = other or others[0].id
        elif discs and not bodies and targets and all(item.pair for item in targets):
            other = other or PAIR
        elif targets:
            rule = rule or targets[0].roles[Role.TARGET].id
            levels += [level for item in targets for level in item.levels]
    if rule:
        return Site("target", rule, tuple(dict.fromkeys(levels)), bound=True)
    return Site("other", other, bound=True) if other else NONE


def is_vertebra(item: Item) -> bool:
    """Whether a term names vertebrae themselves, not a level or a part of the spine."""
    return Role.TARGET in item.roles and item.roles[Role.TARGET].value == "vertebra"
