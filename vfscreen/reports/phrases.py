"""The phrases around a mention, and the sites that they name.

English puts the sites of a finding before it in the same noun phrase, behind it after a
preposition, or into the subject of its sentence. Each walk ends where its phrase does.
"""

from vfscreen.reports.lexicon import Role
from vfscreen.reports.parsing import Item, Parsed, parts_clauses

# How far any walk goes, in words: beyond it grammar binds nothing, and time stays linear.
REACH = 40

MENTIONS = frozenset({Role.FRACTURE, Role.DEFORMITY, Role.CEMENT, Role.BENIGN})
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


def is_site(item: Item | None) -> bool:
    """Whether a term names a site, the finding's own or another."""
    return item is not None and (Role.TARGET in item.roles or Role.OTHER in item.roles)


def excludes_level(at: list[Item | None], negation: Item) -> bool:
    """Whether a "not" in a list takes one level out of it: "L1 but not L2", "T12, not L1"."""
    entry = negation.roles.get(Role.NEGATION_BEFORE)
    if entry is None or entry.value != "short" or negation.end >= len(at):
        return False
    joint, level = at[negation.start - 1], at[negation.end]
    return (
        level is not None
        and bool(level.levels)
        and joint is not None
        and not {Role.CONJUNCTION, Role.STOP}.isdisjoint(joint.roles)
    )


def _is_adjective(item: Item | None) -> bool:
    return item is not None and not _ADJECTIVES.isdisjoint(item.roles)


def before_mention(parsed: Parsed, low: int, start: int, *, subject: bool) -> list[list[Item]]:
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
        left = at[item.start - 1] if item.start > low else None
        if left is not None and left.start > low and excludes_level(at, left):
            i = left.start - 1  # "L1 but not L2"
            continue
        if Role.TARGET in roles or Role.OTHER in roles:
            groups[-1].append(item)
            adjective = False
        elif Role.CONJUNCTION in roles:
            before = at[item.start - 1] if item.start > low else None
            listed = groups[-1] and is_site(before)
            if listed and (not adjective or _both_levels(before, groups[-1][-1])):
                adjective = False
                if not _both_levels(before, groups[-1][-1]):
                    groups.append([])
            elif parts_clauses(item) or not _is_adjective(before):
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
        elif Role.BREAK in roles or Role.STOP in roles or not MENTIONS.isdisjoint(roles):
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
        return left.start <= low or not is_site(at[left.start - 1])
    return Role.LINK not in left.roles


def behind_mention(parsed: Parsed, high: int, end: int) -> list[list[Item]]:
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
                elif not _is_adjective(following) or _head_following(parsed, item.end, ceiling):
                    # "Collapse or destructive change of the vertebral bodies": one site for both.
                    if _head_following(parsed, item.end, ceiling) is None:
                        break
                    shared = True
        elif Role.LINK in roles:
            if groups[-1] and (gone_on or roles[Role.LINK].value == "extends"):
                break
            aside = _aside(parsed, i, ceiling) if groups[-1] else 0
            if aside:
                i = aside
                continue
            linked, gone_on = True, False
        elif not _ADJECTIVES.isdisjoint(roles) and (
            not groups[-1] or _list_follows(parsed, item.end, ceiling)
        ):
            pass  # "old, at T7", "T7 grade 1, T9 grade 2"
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


def _list_follows(parsed: Parsed, i: int, ceiling: int) -> bool:
    """Whether a list of levels goes on here: ", T9"."""
    joint = parsed.at[i] if i < ceiling else None
    following = parsed.at[joint.end] if joint is not None and joint.end < ceiling else None
    return (
        joint is not None
        and Role.CONJUNCTION in joint.roles
        and following is not None
        and bool(following.levels)
    )


def _aside(parsed: Parsed, i: int, ceiling: int) -> int:
    """The word behind a remark in brackets that begins here: "T7 (mild) and T8"; else 0."""
    words = parsed.words.words
    if words[i] != "(":
        return 0
    closes = next((k for k in range(i, min(i + 6, ceiling)) if words[k] == ")"), 0)
    return closes + 1 if closes else 0


_HEADS = frozenset({*MENTIONS, Role.CLOSE})
_BONES = frozenset({"bone", "part"})


def _head_following(parsed: Parsed, i: int, ceiling: int) -> Item | None:
    """The head of a phrase joined to the mention: "or (destructive) change"."""
    for k in range(i, min(i + 3, ceiling)):
        item = parsed.at[k]
        if item is not None and not (_is_adjective(item) and _HEADS.isdisjoint(item.roles)):
            return item if not _HEADS.isdisjoint(item.roles) else None
    return None


def _is_clause(parsed: Parsed, site: Item, ceiling: int) -> bool:
    """Whether a site opens a clause with a finding of its own: "ribs 7 to 9, and T8 is wedged"."""
    copula = False
    for k in range(site.end, min(site.end + 5, ceiling)):
        item = parsed.at[k]
        if item is None:
            continue
        if copula and not MENTIONS.isdisjoint(item.roles):
            return True
        if Role.LINK in item.roles or Role.CONJUNCTION in item.roles:
            return False
        copula = copula or Role.COPULA in item.roles
    return False


_BETWEEN_SITES = frozenset({Role.ANAPHOR, Role.CONJUNCTION, Role.LINK})


def _site_following(parsed: Parsed, i: int, ceiling: int) -> Item | None:
    """The site with which a list goes on, past prepositions, articles and sides."""
    end = i + 4
    while i < min(end, ceiling):
        item = parsed.at[i]
        if item is not None and _BETWEEN_SITES.isdisjoint(item.roles):
            return item if is_site(item) else None
        if item is not None:
            end += item.end - i - 1  # "and to a lesser extent L2"
            i = item.end
        else:
            i += 1
    return None


def _both_levels(item: Item | None, other: Item) -> bool:
    """Whether "and" joins levels only: the "transverse processes of L2 and L3" are one site."""
    return item is not None and bool(item.levels) and bool(other.levels)
