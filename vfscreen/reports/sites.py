"""What a mention is about: the finding's site, another one, or none that the sentence names.

English puts the site of a finding before it ("L1 compression fracture"), behind it after a
preposition ("fracture of the L1 vertebral body"), or makes it the subject ("L1 is collapsed").
These are tried in the order of how tightly they bind; the nearest site in the clause comes last.
"""

from dataclasses import dataclass

from vfscreen.reports.lexicon import Role
from vfscreen.reports.parsing import Item, Parsed

# How far any walk goes, in words: beyond it grammar binds nothing, and time stays linear.
REACH = 40

_MENTIONS = frozenset({Role.FRACTURE, Role.DEFORMITY, Role.CEMENT, Role.BENIGN})
_ADJECTIVES = frozenset({Role.ACUITY, Role.SEVERITY, Role.CAUSE})
_PASSED = frozenset(
    {
        Role.COPULA,
        Role.SEEN,
        Role.UNCERTAIN_BEFORE,
        Role.UNCERTAIN_AFTER,
        Role.NEGATION_AFTER,
        Role.ANAPHOR,
    }
)


@dataclass(frozen=True, slots=True)
class Site:
    """`kind` is ``target``, ``other`` or ``none``; `rule` names the entry that decided."""

    kind: str
    rule: str = ""
    levels: tuple[str, ...] = ()
    bound: bool = False  # by the mention's own phrase, not merely by the clause


NONE = Site("none")


def site_of(parsed: Parsed, low: int, high: int, start: int, end: int, *, discs: bool) -> Site:
    """Find the site of the mention at words `start` to `end` of the sentence `low` to `high`.

    `discs` tells whether a disc is another site (it is for a loss of height) or only a place (a
    fracture next to a disc).
    """
    direct = _decide(_before(parsed, low, start, subject=False), discs)
    if direct.kind != "none" and direct.levels:
        return direct
    behind = _decide(_behind(parsed, high, end), discs)
    if direct.kind == "target" and behind.kind == "target":
        return Site("target", direct.rule, behind.levels, bound=True)
    for site in (direct, behind):
        if site.kind != "none":
            return site
    return _decide(_before(parsed, low, start, subject=True), discs)


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
            if Role.STOP in item.roles or (Role.FRACTURE in item.roles and i < start):
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
    for group in groups:
        others = [
            item.roles[Role.OTHER]
            for item in group
            if Role.OTHER in item.roles and (discs or item.roles[Role.OTHER].value != "disc")
        ]
        targets = [item for item in group if Role.TARGET in item.roles]
        if others:
            other = other or others[0].id
        elif targets:
            rule = rule or targets[0].roles[Role.TARGET].id
            levels += [level for item in targets for level in item.levels]
    if rule:
        return Site("target", rule, tuple(dict.fromkeys(levels)), bound=True)
    return Site("other", other, bound=True) if other else NONE


def _is_site(item: Item | None) -> bool:
    return item is not None and (Role.TARGET in item.roles or Role.OTHER in item.roles)


def _is_adjective(item: Item | None) -> bool:
    return item is not None and not _ADJECTIVES.isdisjoint(item.roles)


def _before(parsed: Parsed, low: int, start: int, *, subject: bool) -> list[list[Item]]:
    """Groups of sites in the noun phrase before a mention, or in the subject of its sentence."""
    at = parsed.at
    groups: list[list[Item]] = [[]]
    crossed = not subject
    adjective = False  # since the last site: "spine and old rib fractures" is no list of sites
    i = start - 1
    floor = max(low, start - REACH)
    while i >= floor:
        item = at[i]
        if item is None:
            i -= 1
            continue
        roles = item.roles
        if Role.TARGET in roles or Role.OTHER in roles:
            groups[-1].append(item)
            adjective = False
        elif Role.CONJUNCTION in roles:
            before = at[item.start - 1] if item.start > low else None
            if _is_site(before) and groups[-1] and not adjective:
                if not _both_levels(before, groups[-1][-1]):
                    groups.append([])
            elif not _is_adjective(before):
                break
        elif (
            Role.COPULA in roles
            or Role.SEEN in roles
            or (item.end == item.start + 1 and parsed.words.words[i] == "with")
        ):
            # "L1 shows a fracture", "the lumbar spine with a fracture"
            if crossed or groups[-1]:
                break
        elif subject and Role.LINK in roles:
            pass  # "the body of L1 is collapsed": a subject with its prepositions
        elif not _ADJECTIVES.isdisjoint(roles):
            adjective = True
        elif Role.LINK in roles:
            # "changes of the lumbar spine and rib fractures": the spine belongs to the changes.
            if len(groups) > 1 and not all(m.levels for g in groups[-2:] for m in g):
                groups.pop()
            break
        elif Role.NEGATION_BEFORE in roles and not subject:
            break  # "hardware at L4 without fracture": the level is the hardware's
        elif Role.BREAK in roles or Role.STOP in roles or not _MENTIONS.isdisjoint(roles):
            break
        i = item.start - 1
    return groups


def _behind(parsed: Parsed, high: int, end: int) -> list[list[Item]]:
    """Groups of sites behind a mention: adjacent ("fractured L1") or led to by a preposition."""
    at = parsed.at
    groups: list[list[Item]] = [[]]
    linked, adjacent, plain = False, True, 0
    gone_on = False  # a word since the last site: "L1 extending to the pedicle" names one site
    i = end
    ceiling = min(high, end + REACH)
    while i < ceiling:
        item = at[i]
        if item is None:
            plain += 0 if linked else 1
            if plain > 2:
                break
            gone_on = True
            i += 1
            continue
        roles = item.roles
        if Role.TARGET in roles or Role.OTHER in roles:
            if not (linked or adjacent):
                break
            groups[-1].append(item)
            gone_on = False
        elif Role.CONJUNCTION in roles:
            if groups[-1]:
                following = _site_following(parsed, item.end, ceiling)
                if following is None:
                    break
                if not _both_levels(following, groups[-1][-1]):
                    groups.append([])
            else:
                following = at[item.end] if item.end < ceiling else None
                if following is not None and following.levels:
                    linked = True
                elif not _is_adjective(following):
                    break
        elif Role.LINK in roles:
            if gone_on and groups[-1]:
                break
            linked = True
        elif not _ADJECTIVES.isdisjoint(roles) and not groups[-1]:
            pass
        elif not _PASSED.isdisjoint(roles) and Role.STOP not in roles:
            if groups[-1] and Role.ANAPHOR not in roles:
                break
            adjacent = adjacent and Role.ANAPHOR in roles
        else:
            break
        i = item.end
    return groups


def _site_following(parsed: Parsed, i: int, ceiling: int) -> Item | None:
    """The site with which a list goes on, past articles and sides."""
    for k in range(i, min(i + 3, ceiling)):
        item = parsed.at[k]
        if item is None or Role.ANAPHOR in item.roles or Role.CONJUNCTION in item.roles:
            continue
        return item if _is_site(item) else None
    return None


def _both_levels(item: Item | None, other: Item) -> bool:
    """Whether "and" joins levels only: the "transverse processes of L2 and L3" are one site."""
    return item is not None and bool(item.levels) and bool(other.levels)
