"""What a mention is about: the finding's site, another one, or none that the sentence names.

English puts the site of a finding before it ("L1 compression fracture"), behind it after a
preposition ("fracture of the L1 vertebral body"), or makes it the subject ("L1 is collapsed").
These are tried in the order of how tightly they bind; the nearest site in the clause comes last.
"""

from dataclasses import dataclass

from vfscreen.reports.lexicon import Role
from vfscreen.reports.parsing import Item, Parsed, parts_clauses

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
PAIR = "level.pair"
"""Rule of a site that is a pair of levels, which is how discs are called."""


def site_of(parsed: Parsed, low: int, high: int, start: int, end: int, *, discs: bool) -> Site:
    """Find the site of the mention at words `start` to `end` of the sentence `low` to `high`.

    `discs` tells whether a disc is another site (it is for a loss of height) or only a place (a
    fracture next to a disc).
    """
    subject = NONE
    if _is_predicate(parsed, low, start):
        subject = _decide(_before(parsed, low, start, subject=True), discs)
        if subject.kind == "other" or subject.levels:
            return subject  # "the rod is fractured at L4"
    direct = _decide(_before(parsed, low, start, subject=False), discs)
    if direct.kind != "none" and direct.levels:
        return direct
    if direct.kind == "none":
        direct = subject
    behind = _decide(_behind(parsed, high, end), discs)
    if direct.kind == "target" and behind.kind == "target":
        return Site("target", direct.rule, behind.levels, bound=True)
    for site in (direct, behind):
        if site.kind != "none":
            return site
    subject = _decide(_before(parsed, low, start, subject=True), discs)
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
            return _decide([[site]], discs) if site is not None and _is_site(site) else NONE
        if item is not None and (_is_site(item) or not _MENTIONS.isdisjoint(item.roles)):
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
    """Whether "there is" stands behind the site of its clause: "At L1 there is a fracture"."""
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


def _is_site(item: Item | None) -> bool:
    return item is not None and (Role.TARGET in item.roles or Role.OTHER in item.roles)


def _is_adjective(item: Item | None) -> bool:
    return item is not None and not _ADJECTIVES.isdisjoint(item.roles)


def _before(parsed: Parsed, low: int, start: int, *, subject: bool) -> list[list[Item]]:
    """Groups of sites in the noun phrase before a mention, or in the subject of its sentence."""
    at, words = parsed.at, parsed.words.words
    groups: list[list[Item]] = [[]]
    crossed = not subject
    adjective = False  # since the last site: "spine and old rib fractures" is no list of sites
    i = start - 1
    floor = max(low, start - REACH)
    while i >= floor:
        item = at[i]
        if item is None or Role.ANAPHOR in item.roles:
            if not subject and words[i] in _DETERMINERS and _leaves_phrase(at, i, low):
                break
            i -= 1
            continue
        roles = item.roles
        if Role.TARGET in roles or Role.OTHER in roles:
            groups[-1].append(item)
            adjective = False
        elif Role.CONJUNCTION in roles:
            before = at[item.start - 1] if item.start > low else None
            listed = groups[-1] and _is_site(before)
            if listed and (not adjective or _both_levels(before, groups[-1][-1])):
                adjective = False
                if not _both_levels(before, groups[-1][-1]):
                    groups.append([])
            elif not _is_adjective(before):
                break
        elif (
            Role.COPULA in roles
            or Role.SEEN in roles
            or (Role.BREAK in roles and roles[Role.BREAK].value == "with")
        ):
            # "L1 shows a fracture", "the lumbar spine with a fracture"
            if crossed or groups[-1]:
                break
        elif subject and Role.LINK in roles:
            pass  # "the body of L1 is collapsed": a subject with its prepositions
        elif not _ADJECTIVES.isdisjoint(roles):
            adjective = True
        elif Role.STOP in roles and (
            roles[Role.STOP].value == "adverb"
            or (subject and words[i] in _GOES_ON and not groups[-1])
        ):
            pass  # "L1 is also fractured", "osteopenic but otherwise intact"
        elif Role.LINK in roles:
            # "changes of the lumbar spine and rib fractures": the spine belongs to the changes.
            if len(groups) > 1 and not all(m.levels for g in groups[-2:] for m in g):
                groups.pop()
            break
        elif Role.NEGATION_BEFORE in roles and not subject:
            break  # "hardware at L4 without fracture": the level is the hardware's
        elif subject and not crossed and Role.CLOSE in roles and not groups[-1]:
            break  # "no effusions no evidence of fracture": not the effusion's site
        elif Role.BREAK in roles or Role.STOP in roles or not _MENTIONS.isdisjoint(roles):
            break
        i = item.start - 1
    return groups


_GOES_ON = frozenset({"but", "otherwise"})
_DETERMINERS = frozenset({"a", "an", "the", "this", "that", "these", "those", "another"})


def _leaves_phrase(at: list[Item | None], i: int, low: int) -> bool:
    """Whether the noun phrase begins at this determiner, no list of sites going on before it."""
    left = at[i - 1] if i > low else None
    if left is None:
        return True
    if Role.CONJUNCTION in left.roles:
        return left.start <= low or not _is_site(at[left.start - 1])
    return Role.LINK not in left.roles


def _behind(parsed: Parsed, high: int, end: int) -> list[list[Item]]:
    """Groups of sites behind a mention: adjacent ("fractured L1") or led to by a preposition."""
    at = parsed.at
    groups: list[list[Item]] = [[]]
    linked, adjacent, plain = False, True, 0
    shared = False  # with the head of another phrase, joined to this one
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
        if gone_on and groups[-1] and Role.ANAPHOR in roles:
            break  # "at L1 narrows the canal"
        if Role.TARGET in roles or Role.OTHER in roles:
            if not (linked or adjacent):
                break
            if shared and Role.OTHER in roles and roles[Role.OTHER].value not in _BONES:
                break
            groups[-1].append(item)
            gone_on = False
        elif Role.CONJUNCTION in roles:
            if parts_clauses(item):
                break
            if groups[-1]:
                following = _site_following(parsed, item.end, ceiling)
                if following is None or _is_clause(parsed, following, ceiling):
                    break
                if not _both_levels(following, groups[-1][-1]):
                    groups.append([])
            else:
                following = at[item.end] if item.end < ceiling else None
                if following is not None and following.levels:
                    linked = True
                elif not _is_adjective(following):
                    # "Collapse or destructive change of the vertebral bodies": one site for both.
                    if _head_following(parsed, item.end, ceiling) is None:
                        break
                    shared = True
        elif Role.LINK in roles:
            if gone_on and groups[-1]:
                break
            aside = _aside(parsed, i, ceiling) if groups[-1] else 0
            if aside:
                i = aside
                continue
            linked, gone_on = True, False
        elif not _ADJECTIVES.isdisjoint(roles) and not groups[-1]:
            pass
        elif shared and not groups[-1] and not _HEADS.isdisjoint(roles):
            plain, adjacent = 0, False
        elif not _PASSED.isdisjoint(roles) and Role.STOP not in roles:
            if groups[-1] and Role.ANAPHOR not in roles:
                break
            adjacent = adjacent and Role.ANAPHOR in roles
        else:
            break
        i = item.end
    return groups


def _aside(parsed: Parsed, i: int, ceiling: int) -> int:
    """The word behind a remark in brackets that begins here: "T7 (mild) and T8"; else 0."""
    words = parsed.words.words
    if words[i] != "(":
        return 0
    closes = next((k for k in range(i, min(i + 6, ceiling)) if words[k] == ")"), 0)
    return closes + 1 if closes else 0


_HEADS = frozenset({*_MENTIONS, Role.CLOSE})
_BONES = frozenset({"bone", "part"})


def _head_following(parsed: Parsed, i: int, ceiling: int) -> Item | None:
    """The head of a phrase joined to the mention: "or (destructive) change"."""
    for k in range(i, min(i + 2, ceiling)):
        item = parsed.at[k]
        if item is not None:
            return item if not _HEADS.isdisjoint(item.roles) else None
    return None


def _is_clause(parsed: Parsed, site: Item, ceiling: int) -> bool:
    """Whether a site opens a clause with a finding of its own: "ribs 7 to 9, and T8 is wedged"."""
    copula = False
    for k in range(site.end, min(site.end + 5, ceiling)):
        item = parsed.at[k]
        if item is None:
            continue
        if copula and not _MENTIONS.isdisjoint(item.roles):
            return True
        if Role.LINK in item.roles or Role.CONJUNCTION in item.roles:
            return False
        copula = copula or Role.COPULA in item.roles
    return False


_BETWEEN_SITES = frozenset({Role.ANAPHOR, Role.CONJUNCTION, Role.LINK})


def _site_following(parsed: Parsed, i: int, ceiling: int) -> Item | None:
    """The site with which a list goes on, past prepositions, articles and sides."""
    for k in range(i, min(i + 4, ceiling)):
        item = parsed.at[k]
        if item is None or not _BETWEEN_SITES.isdisjoint(item.roles):
            continue
        return item if _is_site(item) else None
    return None


def _both_levels(item: Item | None, other: Item) -> bool:
    """Whether "and" joins levels only: the "transverse processes of L2 and L3" are one site."""
    return item is not None and bool(item.levels) and bool(other.levels)
